//! What Transit reports about a key.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use crate::diagnosis::write_joined;
use crate::vault::client::{Client, Request};
use crate::vault::error::CallError;
use crate::vault::names::{KeyVersion, TransitKey};
use crate::vault::response::{Envelope, Response};
use crate::vault::secret::Token;

/// When a key version was created: later means newer, whatever its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, Deserialize)]
pub struct VersionStamp {
    /// UTC seconds since 1970; 0 if the server does not report it.
    pub created: i64,
    /// The version's number.
    pub version: KeyVersion,
}

/// What Transit reports about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The latest version and when it was created.
    pub latest: VersionStamp,
    /// Its type, such as `aes256-gcm96`.
    pub kind: String,
    /// Versions below it are not decrypted.
    pub min_decryption_version: u32,
    /// Versions below it do not encrypt; 0 is no limit.
    pub min_encryption_version: u32,
    /// How often Vault rotates it automatically; zero is never.
    pub auto_rotate_period: Duration,
    /// Whether it can be deleted.
    pub deletion_allowed: bool,
    /// Whether it can be exported.
    pub exportable: bool,
    /// Whether an unencrypted backup of it can be made.
    pub plaintext_backup_allowed: bool,
    /// Whether its material was imported, perhaps without its private half.
    pub imported: bool,
    /// Why this key can never serve; `None` if it can.
    pub unfit: Option<Unfit>,
}

/// Why a key can never serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit {
    /// What is wrong with it.
    pub cause: &'static str,
    /// What an operator can do about it.
    pub remedy: &'static str,
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
    /// Seconds. Any other type is ignored, so that the rest of the key can be read.
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
    /// Reads the key.
    ///
    /// # Errors
    /// As [`CallError`].
    pub async fn read_key(
        &self,
        key: &TransitKey,
        token: &Token,
        deadline: Instant,
    ) -> Result<KeyInfo, CallError> {
        KeyInfo::read(&self.key_response(key, token, deadline).await?)
    }

    async fn key_response(
        &self,
        key: &TransitKey,
        token: &Token,
        deadline: Instant,
    ) -> Result<Response, CallError> {
        let path = key.path("keys");
        let request = Request::get(&path, deadline)
            .namespace(&key.namespace)
            .token(token);
        self.send(&request).await
    }

    /// The same with all versions.
    #[cfg(feature = "kmsctl")]
    pub(super) async fn read_key_and_versions(
        &self,
        key: &TransitKey,
        token: &Token,
        deadline: Instant,
    ) -> Result<(KeyInfo, Vec<VersionStamp>), CallError> {
        read_with_versions(&self.key_response(key, token, deadline).await?)
    }
}

impl KeyInfo {
    /// Reads the response about a key.
    pub(in crate::vault) fn read(response: &Response) -> Result<Self, CallError> {
        let data: KeyData = response.parse::<Envelope<_>>()?.data;
        key_info(&data).ok_or_else(|| response.unexpected("it holds no key version"))
    }
}

/// The same with all versions.
#[cfg(feature = "kmsctl")]
pub(in crate::vault) fn read_with_versions(
    response: &Response,
) -> Result<(KeyInfo, Vec<VersionStamp>), CallError> {
    let data: KeyData = response.parse::<Envelope<_>>()?.data;
    let info = key_info(&data).ok_or_else(|| response.unexpected("it holds no key version"))?;
    let stamp = |number: &String| {
        let version = KeyVersion::try_new(number.parse().ok()?)?;
        // Another text for the same number is no version of its own.
        if version.get().to_string() != *number {
            return None;
        }
        let created = created(&data, version)?;
        Some(VersionStamp { created, version })
    };
    let mut all: Vec<_> = data.keys.keys().filter_map(stamp).collect();
    all.sort_by_key(|stamp| stamp.version);
    Ok((info, all))
}

fn key_info(data: &KeyData) -> Option<KeyInfo> {
    let version = KeyVersion::try_new(data.latest_version)?;
    let created = created(data, version)?;
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

/// When a version was created; 0 if the server does not report it.
fn created(data: &KeyData, version: KeyVersion) -> Option<i64> {
    match data.keys.get(&version.get().to_string()) {
        Some(VersionData::Seconds(seconds)) => Some(*seconds),
        Some(VersionData::Detail { creation_time }) => {
            let time = creation_time.parse::<jiff::Timestamp>().ok()?;
            Some(time.as_second())
        }
        Some(VersionData::Other(_)) | None => Some(0),
    }
}

fn unfit(data: &KeyData) -> Option<Unfit> {
    let lacks_operation =
        data.supports_encryption == Some(false) || data.supports_decryption == Some(false);
    let (cause, remedy) = if data.convergent_encryption {
        (
            "it is a convergent key, which is derived and needs a context",
            "create one with convergent_encryption=false and derived=false",
        )
    } else if data.derived {
        (
            "it is a derived key, which needs a context",
            "create one with derived=false",
        )
    } else if data.soft_deleted {
        ("it is soft-deleted", "restore it")
    } else if lacks_operation {
        (
            "its type cannot encrypt and decrypt",
            "create one of type aes256-gcm96",
        )
    } else {
        return None;
    };
    Some(Unfit { cause, remedy })
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_joined(f, self.cause, Some(self.remedy))
    }
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

    #[cfg(feature = "kmsctl")]
    #[test]
    fn each_version_is_there_once_in_their_order() {
        let body =
            r#"{"data":{"latest_version":10,"keys":{"10":5,"9":4,"09":3,"+9":2,"x":1,"0":1}}}"#;
        let (_, all) = read_with_versions(&Response::for_test(200, body)).expect("a key");
        let all: Vec<_> = all
            .iter()
            .map(|it| (it.version.get(), it.created))
            .collect();
        assert_eq!(all, [(9, 4), (10, 5)]);
    }

    #[test]
    fn keys_that_can_never_serve_are_recognised() {
        let hmac = r#"{"latest_version":1,"supports_encryption":false}"#;
        assert!(info(hmac).unfit.is_some());
        let derived = r#"{"latest_version":1,"derived":true,"keys":{"1":5}}"#;
        assert!(info(derived).unfit.is_some());
        let fit = r#"{"latest_version":1,"keys":{"1":5},"supports_encryption":true,"supports_decryption":true}"#;
        assert_eq!(info(fit).unfit, None);
    }
}
