//! Transit: what it answers of a key, and a look at it. Encrypt and Decrypt are in `items`.

mod items;

use std::collections::HashMap;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use tokio::time::Instant;

use super::client::{Client, Request};
use super::error::CallError;
use super::names::{KeyVersion, TransitKey};
use super::secret::{Ciphertext, Token};
pub use items::{Outcomes, ToEncrypt};

/// A ciphertext and the key version that Vault says it used.
#[derive(Debug, Clone)]
pub struct Encrypted {
    /// Transit's own text.
    pub ciphertext: Ciphertext,
    /// The version in the answer; the same as in the text.
    pub version: KeyVersion,
}

/// When a key version came to be: later means newer, whatever its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, Deserialize)]
pub struct VersionStamp {
    /// UTC seconds since 1970; 0 where the server does not say.
    pub created: i64,
    /// The version's number.
    pub version: KeyVersion,
}

/// What Transit says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The latest version and when it was made.
    pub latest: VersionStamp,
    /// Its type, such as `aes256-gcm96`.
    pub kind: String,
    /// Versions below it are not decrypted.
    pub min_decryption_version: u32,
    /// Versions below it do not encrypt; 0 is no limit.
    pub min_encryption_version: u32,
    /// How often Vault rotates it by itself; zero is never.
    pub auto_rotate_period: Duration,
    /// Whether it can be deleted.
    pub deletion_allowed: bool,
    /// Whether it can be exported.
    pub exportable: bool,
    /// Whether a backup of it, unencrypted, can be had.
    pub plaintext_backup_allowed: bool,
    /// Whether its material was brought from outside, perhaps without its private half.
    pub imported: bool,
    /// Why this key can never serve, where it cannot.
    pub unfit: Option<&'static str>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct KeyData {
    latest_version: u32,
    #[serde(default)]
    keys: HashMap<String, VersionData>,
    #[serde(default)]
    min_decryption_version: u32,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    min_encryption_version: u32,
    /// Seconds. Whatever else a server may write there is no reason to know nothing of the key.
    #[serde(default)]
    auto_rotate_period: serde_json::Value,
    #[serde(default)]
    deletion_allowed: bool,
    #[serde(default)]
    exportable: bool,
    #[serde(default)]
    allow_plaintext_backup: bool,
    #[serde(default)]
    imported_key: bool,
    #[serde(default)]
    derived: bool,
    #[serde(default)]
    convergent_encryption: bool,
    #[serde(default)]
    soft_deleted: bool,
    supports_encryption: Option<bool>,
    supports_decryption: Option<bool>,
}

/// AES and ChaCha keys give seconds, RSA keys an object, external keys a name.
#[derive(Deserialize)]
#[serde(untagged)]
enum VersionData {
    Seconds(i64),
    Detail { creation_time: String },
    Other(serde::de::IgnoredAny),
}

impl Client {
    /// Looks at the key.
    ///
    /// # Errors
    /// As [`CallError`].
    pub async fn read_key(
        &self,
        key: &TransitKey,
        token: &Token,
        deadline: Instant,
    ) -> Result<KeyInfo, CallError> {
        let path = key.path("keys");
        let answer = self
            .send(Request {
                method: Method::GET,
                path: &path,
                query: None,
                namespace: Some(&key.namespace),
                token: Some(token),
                body: None,
                deadline,
            })
            .await?;
        let data: KeyData = answer.parse::<Envelope<_>>()?.data;
        key_info(&data).ok_or_else(|| answer.foreign("no key version in it"))
    }
}

fn key_info(data: &KeyData) -> Option<KeyInfo> {
    let version = KeyVersion::try_new(data.latest_version)?;
    let created = match data.keys.get(&data.latest_version.to_string()) {
        Some(VersionData::Seconds(seconds)) => *seconds,
        Some(VersionData::Detail { creation_time }) => {
            creation_time.parse::<jiff::Timestamp>().ok()?.as_second()
        }
        Some(VersionData::Other(_)) | None => 0,
    };
    Some(KeyInfo {
        latest: VersionStamp { created, version },
        kind: data.kind.clone(),
        min_decryption_version: data.min_decryption_version,
        min_encryption_version: data.min_encryption_version,
        auto_rotate_period: Duration::from_secs(
            data.auto_rotate_period.as_u64().unwrap_or_default(),
        ),
        deletion_allowed: data.deletion_allowed,
        exportable: data.exportable,
        plaintext_backup_allowed: data.allow_plaintext_backup,
        imported: data.imported_key,
        unfit: unfit(data),
    })
}

fn unfit(data: &KeyData) -> Option<&'static str> {
    if data.convergent_encryption {
        return Some(
            "it is a convergent key, which is derived and needs a context: make one with \
             convergent_encryption=false and derived=false",
        );
    }
    if data.derived {
        return Some("it is a derived key, which needs a context: make one with derived=false");
    }
    if data.soft_deleted {
        return Some("it is soft-deleted: restore it");
    }
    if data.supports_encryption == Some(false) || data.supports_decryption == Some(false) {
        return Some("its type cannot encrypt and decrypt: make one of type aes256-gcm96");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(json: &str) -> KeyInfo {
        key_info(&serde_json::from_str(json).expect("JSON")).expect("key")
    }

    #[test]
    fn created_is_read_in_every_form_that_servers_send() {
        let aes = info(r#"{"latest_version":2,"keys":{"1":1,"2":1714000000}}"#);
        assert_eq!(aes.latest.created, 1_714_000_000);
        let rsa = info(
            r#"{"latest_version":1,"keys":{"1":{"name":"rsa","public_key":"x","creation_time":"2024-04-24T23:06:40.987654321Z"}}}"#,
        );
        assert_eq!(rsa.latest.created, 1_714_000_000);
        let offset = info(
            r#"{"latest_version":1,"keys":{"1":{"creation_time":"2024-04-25T01:06:40.5+02:00"}}}"#,
        );
        assert_eq!(offset.latest.created, 1_714_000_000);
        let external = info(r#"{"latest_version":1,"keys":{"1":"cfg:name"}}"#);
        assert_eq!(external.latest.created, 0);
    }

    #[test]
    fn keys_that_cannot_serve_are_named() {
        let hmac = r#"{"latest_version":1,"supports_encryption":false}"#;
        assert!(info(hmac).unfit.is_some());
        let derived = r#"{"latest_version":1,"derived":true,"keys":{"1":5}}"#;
        assert!(info(derived).unfit.is_some());
        let fit = r#"{"latest_version":1,"keys":{"1":5},"supports_encryption":true,"supports_decryption":true}"#;
        assert_eq!(info(fit).unfit, None);
    }
}
