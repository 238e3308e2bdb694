//! A transit key of type aes256-gcm96: its versions, and Vault's errors.

use std::time::{SystemTime, UNIX_EPOCH};

use aes_gcm::aead::{Aead, AeadCore, KeyInit, OsRng, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

const NONCE_LENGTH: usize = 12;

/// All versions of one key.
pub(super) struct Key {
    versions: Vec<Version>,
    pub(super) min_decryption_version: usize,
    pub(super) min_encryption_version: usize,
    pub(super) deletion_allowed: bool,
}

struct Version {
    cipher: Aes256Gcm,
    created: u64,
}

impl Key {
    pub(super) fn new() -> Self {
        Self {
            versions: vec![Version::new()],
            min_decryption_version: 1,
            min_encryption_version: 0,
            deletion_allowed: false,
        }
    }

    pub(super) fn rotate(&mut self) {
        self.versions.push(Version::new());
    }

    pub(super) fn latest(&self) -> usize {
        self.versions.len()
    }

    /// The ciphertext and the version that made it; version 0 means the latest.
    pub(super) fn encrypt(
        &self,
        plaintext: &[u8],
        associated_data: &[u8],
        version: i64,
    ) -> Result<(String, usize), String> {
        let version = self.version_to_encrypt(version)?;
        let nonce = Aes256Gcm::generate_nonce(&mut OsRng);
        let payload = Payload {
            msg: plaintext,
            aad: associated_data,
        };
        let sealed = self.versions[version - 1].cipher.encrypt(&nonce, payload);
        let sealed = sealed.map_err(|error| error.to_string())?;
        let bytes = [nonce.as_slice(), &sealed].concat();
        Ok((
            format!("vault:v{version}:{}", STANDARD.encode(bytes)),
            version,
        ))
    }

    /// The plaintext of one of Transit's ciphertexts.
    pub(super) fn decrypt(
        &self,
        ciphertext: &str,
        associated_data: &[u8],
    ) -> Result<Vec<u8>, String> {
        let rest = ciphertext
            .strip_prefix("vault:v")
            .ok_or("invalid ciphertext: no prefix")?;
        let fields = rest
            .split_once(':')
            .ok_or("invalid ciphertext: wrong number of fields")?;
        let version = fields.0.parse::<usize>();
        let version =
            version.map_err(|_| "invalid ciphertext: version number could not be decoded")?;
        let version = version.max(1); // v0 is an old name of v1
        if version > self.latest() {
            return Err("invalid ciphertext: version is too new".to_owned());
        }
        if version < self.min_decryption_version {
            let old = "ciphertext or signature version is disallowed by policy (too old)";
            return Err(old.to_owned());
        }
        let bytes = STANDARD.decode(fields.1);
        let bytes = bytes.map_err(|_| "invalid ciphertext: could not decode base64")?;
        let Some((nonce, sealed)) = bytes.split_at_checked(NONCE_LENGTH) else {
            return Err("invalid ciphertext length".to_owned());
        };
        let payload = Payload {
            msg: sealed,
            aad: associated_data,
        };
        let opened = self.versions[version - 1]
            .cipher
            .decrypt(Nonce::from_slice(nonce), payload);
        opened.map_err(|_| "cipher: message authentication failed".to_owned())
    }

    /// The response of `GET keys/<name>`.
    pub(super) fn describe(&self, name: &str) -> Value {
        let readable = (self.min_decryption_version..=self.latest()).map(|version| {
            (
                version.to_string(),
                json!(self.versions[version - 1].created),
            )
        });
        json!({
            "name": name,
            "type": "aes256-gcm96",
            "keys": readable.collect::<Map<_, _>>(),
            "latest_version": self.latest(),
            "min_available_version": 0,
            "min_decryption_version": self.min_decryption_version,
            "min_encryption_version": self.min_encryption_version,
            "deletion_allowed": self.deletion_allowed,
            "derived": false,
            "exportable": false,
            "allow_plaintext_backup": false,
            "auto_rotate_period": 0,
            "imported_key": false,
            "supports_encryption": true,
            "supports_decryption": true,
            "supports_derivation": true,
            "supports_signing": false,
        })
    }

    fn version_to_encrypt(&self, version: i64) -> Result<usize, String> {
        let subject = "requested version for encryption is";
        if version == 0 {
            return Ok(self.latest());
        }
        let Ok(version) = usize::try_from(version) else {
            return Err(format!("{subject} negative"));
        };
        if version > self.latest() {
            return Err(format!("{subject} higher than the latest key version"));
        }
        if version < self.min_encryption_version {
            return Err(format!(
                "{subject} less than the minimum encryption key version"
            ));
        }
        if version < self.min_decryption_version {
            return Err("no such key version".to_owned());
        }
        Ok(version)
    }
}

impl Version {
    fn new() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let key = Aes256Gcm::generate_key(&mut OsRng);
        Self {
            cipher: Aes256Gcm::new(&key),
            created: now.as_secs(),
        }
    }
}
