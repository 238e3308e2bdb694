//! The EncryptedObject of KMS v2 (`k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/v2/api.proto`).

use std::collections::BTreeMap;

use prost::Message;

use super::damaged::Damaged;

/// The limits of kube-apiserver (`kmsv2/envelope.go`, `validateEncryptedObject`), in bytes.
const MAX_KEY_ID: usize = 1024;
const MAX_WRAPPED: usize = 1024;
const MAX_ANNOTATIONS: usize = 32 * 1024;
/// The info from which the key of one object is derived (`encrypt/aes/aes_extended_nonce.go`).
const INFO_BYTES: usize = 32;
/// AES-GCM's nonce and tag.
const SEAL_BYTES: usize = 12 + 16;

/// What is stored for one object.
#[derive(Clone, PartialEq, Message)]
pub struct EncryptedObject {
    /// The sealed object: for a seed 32 bytes of info, then nonce, ciphertext and tag; else the latter three.
    #[prost(bytes = "vec", tag = "1")]
    pub encrypted_data: Vec<u8>,
    /// The key_id that Status announced when the seed was wrapped.
    #[prost(string, tag = "2")]
    pub key_id: String,
    /// The seed or key, as the plugin wrapped it.
    #[prost(bytes = "vec", tag = "3")]
    pub wrapped: Vec<u8>,
    /// What the plugin gave with it.
    #[prost(btree_map = "string, bytes", tag = "4")]
    pub annotations: BTreeMap<String, Vec<u8>>,
    /// How the data was encrypted.
    #[prost(int32, tag = "5")]
    pub kind: i32,
}

/// What was wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeedType {
    /// A key that seals objects itself (`AES_GCM_KEY`, before Kubernetes 1.29).
    Key,
    /// A seed from which the key of each object is derived (`HKDF_SHA256_XNONCE_AES_GCM_SEED`).
    Seed,
}

impl EncryptedObject {
    /// Reads what follows the prefix, and checks it as kube-apiserver does.
    ///
    /// # Errors
    /// If it is cut off, or is what kube-apiserver would not accept.
    pub fn parse(bytes: &[u8]) -> Result<Self, Damaged> {
        if bytes.is_empty() {
            return Err(Damaged::Cut("it ends after its prefix".to_owned()));
        }
        let object = Self::decode(bytes);
        let object =
            object.map_err(|error| Damaged::Cut(format!("no EncryptedObject: {error}")))?;
        object.validate()?;
        Ok(object)
    }

    /// What was wrapped.
    #[must_use]
    pub const fn seed_type(&self) -> SeedType {
        if self.kind == 0 {
            SeedType::Key
        } else {
            SeedType::Seed
        }
    }

    fn validate(&self) -> Result<(), Damaged> {
        let invalid = |text: String| Err(Damaged::Invalid(text));
        let least = match self.kind {
            0 => SEAL_BYTES,
            1 => INFO_BYTES + SEAL_BYTES,
            kind => return Err(Damaged::Unknown(format!("its type {kind}"))),
        };
        if self.key_id.is_empty() || self.key_id.len() > MAX_KEY_ID {
            let bytes = self.key_id.len();
            return invalid(format!(
                "its key_id has {bytes} bytes, not 1 to {MAX_KEY_ID}"
            ));
        }
        if self.wrapped.is_empty() || self.wrapped.len() > MAX_WRAPPED {
            let bytes = self.wrapped.len();
            return invalid(format!(
                "its wrapped seed has {bytes} bytes, not 1 to {MAX_WRAPPED}"
            ));
        }
        let annotations = self.annotations.iter();
        let bytes: usize = annotations
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if bytes > MAX_ANNOTATIONS {
            return invalid(format!(
                "its annotations have {bytes} bytes, more than {MAX_ANNOTATIONS}"
            ));
        }
        if self.encrypted_data.len() < least {
            let bytes = self.encrypted_data.len();
            let text = format!("its data has {bytes} bytes, at least {least} are needed");
            return Err(Damaged::Cut(text));
        }
        Ok(())
    }
}

impl SeedType {
    /// As kube-apiserver names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "AES_GCM_KEY",
            Self::Seed => "HKDF_SHA256_XNONCE_AES_GCM_SEED",
        }
    }
}
