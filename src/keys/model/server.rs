//! What a server of Vault has and answers: two Transit keys.

use std::sync::Arc;
use std::time::Duration;

use crate::keys::error::{ErrorKind, KeyError};
use crate::keys::refresh::Proof;
use crate::keys::tests::{key_named, stamp};
use crate::keys::view::Canary;
use crate::vault::{
    ApiErrorKind, CallError, Ciphertext, KeyInfo, KeyVersion, TransitKey, VersionStamp,
};

/// The names of the keys.
const NAMES: [&str; 2] = ["kms", "kms-2"];

/// One of the keys, by its number.
pub(super) type KeyNumber = usize;

/// What is decrypted with one version, and with no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Material(pub(super) u8);

/// A version of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Version {
    pub(super) created: i64,
    pub(super) material: Material,
}

/// A key: its versions, the first of which is version 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) versions: Vec<Version>,
    pub(super) minimum: u32,
}

/// What one server has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Data {
    pub(super) keys: [Option<Key>; 2],
    /// How often it was changed. Whoever has seen this number knows every version.
    pub(super) changes: u8,
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Server {
    /// The active node.
    Active,
    /// A standby that has not seen the last changes.
    Standby,
    /// Nobody: the call fails.
    Nobody,
}

/// The key with this number.
pub(super) fn transit_key(number: KeyNumber) -> TransitKey {
    key_named(NAMES[number])
}

fn number_of(key: &TransitKey) -> KeyNumber {
    usize::from(*key == transit_key(1))
}

fn rejected(key: &TransitKey, kind: ApiErrorKind) -> KeyError {
    let error = CallError::Api {
        path: String::new(),
        status: 400,
        message: String::new(),
        kind,
        retry_after: None,
    };
    KeyError::of_call(key, &error)
}

/// The error of a call that nobody answers.
pub(super) fn unanswered() -> KeyError {
    KeyError::new(ErrorKind::Unavailable, "nobody answers")
}

/// The material that made a ciphertext.
pub(super) fn material_of(ciphertext: &Ciphertext) -> Material {
    let number = ciphertext.as_str().rsplit(':').next();
    Material(number.and_then(|it| it.parse().ok()).expect("a number"))
}

impl Data {
    fn key(&self, key: &TransitKey) -> Result<&Key, KeyError> {
        let found = self.keys[number_of(key)].as_ref();
        found.ok_or_else(|| rejected(key, ApiErrorKind::KeyMissing))
    }

    /// Reads a key.
    pub(super) fn read(&self, key: &TransitKey) -> Result<KeyInfo, KeyError> {
        let minimum = self.key(key)?.minimum;
        Ok(KeyInfo {
            latest: self.latest(key).expect("a version"),
            kind: "aes256-gcm96".to_owned(),
            min_decryption_version: minimum,
            min_encryption_version: 0,
            auto_rotate_period: Duration::ZERO,
            deletion_allowed: true,
            exportable: false,
            plaintext_backup_allowed: false,
            imported: false,
            unfit: None,
        })
    }

    /// The latest version of a key, if that exists.
    pub(super) fn latest(&self, key: &TransitKey) -> Option<VersionStamp> {
        let versions = &self.key(key).ok()?.versions;
        let number = u32::try_from(versions.len()).ok()?;
        Some(stamp(versions.last()?.created, number))
    }

    /// The `min_decryption_version` of a key.
    pub(super) fn minimum(&self, key: &TransitKey) -> u32 {
        self.key(key).map_or(1, |key| key.minimum)
    }

    fn version(&self, key: &TransitKey, number: KeyVersion) -> Result<Version, KeyError> {
        let of = self.key(key)?;
        if number.get() < of.minimum {
            return Err(rejected(key, ApiErrorKind::VersionTooOld));
        }
        let version = of.versions.get(number.get() as usize - 1);
        let version = version.copied();
        version.ok_or_else(|| rejected(key, ApiErrorKind::VersionTooNew))
    }

    /// Encrypts with a version, or with the latest.
    pub(super) fn encrypt(
        &self,
        key: &TransitKey,
        number: KeyVersion,
    ) -> Result<Ciphertext, KeyError> {
        let version = self.version(key, number)?;
        let text = format!(
            "vault:v{number}:{}",
            version.material.0,
            number = number.get()
        );
        Ok(Ciphertext::try_new(text.into_bytes()).expect("a ciphertext"))
    }

    /// Decrypts.
    pub(super) fn decrypt(
        &self,
        key: &TransitKey,
        ciphertext: &Ciphertext,
    ) -> Result<(), KeyError> {
        let version = self.version(key, ciphertext.version())?;
        if version.material == material_of(ciphertext) {
            Ok(())
        } else {
            Err(rejected(key, ApiErrorKind::BadCiphertext))
        }
    }

    /// Encrypts a canary with a version, and decrypts it together with the one from before.
    pub(super) fn prove(
        &self,
        key: &TransitKey,
        stamp: VersionStamp,
        before: Option<&Canary>,
    ) -> Result<Proof, KeyError> {
        let ciphertext = self.encrypt(key, stamp.version)?;
        self.decrypt(key, &ciphertext)?;
        let canary = Canary {
            digest: [0; 32],
            ciphertext: Arc::new(ciphertext),
            stamp,
            was_refused: false,
        };
        let before = before.map_or(Ok(()), |it| self.decrypt(key, &it.ciphertext));
        Ok(Proof { canary, before })
    }

    /// Whether it has the version that made this, be it below the minimum.
    pub(super) fn has(&self, key: &TransitKey, ciphertext: &Ciphertext) -> bool {
        let material = material_of(ciphertext);
        let mut versions = self.key(key).into_iter().flat_map(|key| &key.versions);
        versions.any(|version| version.material == material)
    }
}
