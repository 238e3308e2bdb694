//! Transit: encrypt, decrypt, and a look at the key.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::answer::Answer;
use super::client::{Client, Request};
use super::error::CallError;
use super::names::{KeyVersion, TransitKey};
use super::secret::{Ciphertext, Plaintext, Token};

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
pub struct KeyMoment {
    /// UTC seconds since 1970; 0 where the server does not say.
    pub created: i64,
    /// The version's number.
    pub version: KeyVersion,
}

/// What Transit says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The latest version and when it was made.
    pub latest: KeyMoment,
    /// Versions below it are not decrypted.
    pub min_decryption_version: u32,
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
struct EncryptData {
    ciphertext: String,
    key_version: Option<u32>,
}

#[derive(Deserialize)]
struct DecryptData {
    plaintext: String,
}

#[derive(Deserialize)]
struct KeyData {
    latest_version: u32,
    #[serde(default)]
    keys: HashMap<String, VersionData>,
    #[serde(default)]
    min_decryption_version: u32,
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
    /// Wraps a plaintext. With `version` it is that one or an error; else the key's latest.
    ///
    /// # Errors
    /// As [`CallError`]; an answer made by another version than asked for is one too.
    pub async fn encrypt(
        &self,
        key: &TransitKey,
        plaintext: &Plaintext,
        version: Option<KeyVersion>,
        token: &Token,
        deadline: Instant,
    ) -> Result<Encrypted, CallError> {
        let mut body = json!({ "plaintext": STANDARD.encode(plaintext.expose_secret()) });
        if let Some(version) = version {
            body["key_version"] = version.get().into();
        }
        let path = key.path("encrypt");
        let answer = self.post(key, &path, &body, token, deadline).await?;
        let data: EncryptData = answer.parse::<Envelope<_>>()?.data;
        let encrypted = encrypted(data).ok_or_else(|| answer.foreign("no ciphertext in it"))?;
        if version.is_some_and(|wanted| wanted != encrypted.version) {
            return Err(answer.foreign("it used another key version than asked for"));
        }
        Ok(encrypted)
    }

    /// Unwraps a ciphertext.
    ///
    /// # Errors
    /// As [`CallError`].
    pub async fn decrypt(
        &self,
        key: &TransitKey,
        ciphertext: &Ciphertext,
        token: &Token,
        deadline: Instant,
    ) -> Result<Plaintext, CallError> {
        let body = json!({ "ciphertext": ciphertext.as_str() });
        let path = key.path("decrypt");
        let answer = self.post(key, &path, &body, token, deadline).await?;
        let data: DecryptData = answer.parse::<Envelope<_>>()?.data;
        STANDARD
            .decode(data.plaintext)
            .map(Plaintext::new)
            .map_err(|_| answer.foreign("its plaintext is not base64"))
    }

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

    async fn post(
        &self,
        key: &TransitKey,
        path: &str,
        body: &serde_json::Value,
        token: &Token,
        deadline: Instant,
    ) -> Result<Answer, CallError> {
        let request = Request {
            method: Method::POST,
            path,
            query: None,
            namespace: Some(&key.namespace),
            token: Some(token),
            body: Some(body.to_string().into_bytes()),
            deadline,
        };
        self.send(request).await
    }
}

fn encrypted(data: EncryptData) -> Option<Encrypted> {
    let ciphertext = Ciphertext::try_new(data.ciphertext.into_bytes()).ok()?;
    let version = ciphertext.version();
    let same = data.key_version.is_none_or(|said| said == version.get());
    same.then_some(Encrypted {
        ciphertext,
        version,
    })
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
        latest: KeyMoment { created, version },
        min_decryption_version: data.min_decryption_version,
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

    #[test]
    fn a_version_that_contradicts_its_ciphertext_is_no_answer() {
        let data = |version| EncryptData {
            ciphertext: "vault:v2:YQ==".to_owned(),
            key_version: version,
        };
        assert!(encrypted(data(Some(3))).is_none());
        assert_eq!(encrypted(data(Some(2))).expect("answer").version.get(), 2);
        assert_eq!(encrypted(data(None)).expect("answer").version.get(), 2);
    }
}
