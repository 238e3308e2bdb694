//! The settings of `keys/<name>/config`, and Vault's errors for invalid ones.

use serde_json::Value;

use super::keys::Key;

impl Key {
    /// Applies the settings that `body` names, or none of them.
    pub(super) fn configure(&mut self, body: &Value) -> Result<(), String> {
        let decryption = minimum(body, "decryption", self.latest())?;
        let decryption = decryption.map_or(self.min_decryption_version, |version| version.max(1));
        let encryption = minimum(body, "encryption", self.latest())?;
        let encryption = encryption.unwrap_or(self.min_encryption_version);
        // 0 means the latest.
        if encryption > 0 && decryption > encryption {
            return Err(format!(
                "cannot set min encryption/decryption values; min encryption version of \
                 {encryption} must be greater than or equal to min decryption version of \
                 {decryption}"
            ));
        }
        self.min_decryption_version = decryption;
        self.min_encryption_version = encryption;
        let deletion = body["deletion_allowed"].as_bool();
        self.deletion_allowed = deletion.unwrap_or(self.deletion_allowed);
        Ok(())
    }
}

fn minimum(body: &Value, what: &str, latest: usize) -> Result<Option<usize>, String> {
    let version = body[format!("min_{what}_version")].as_u64();
    match version.and_then(|version| usize::try_from(version).ok()) {
        Some(version) if version > latest => Err(format!(
            "cannot set min {what} version of {version}, latest key version is {latest}"
        )),
        version => Ok(version),
    }
}
