//! Whether a stored value can be opened with its seed: what kube-apiserver would do, without keeping the plaintext.
//!
//! `k8s.io/apiserver/pkg/storage/value/encrypt/aes`: `aes_extended_nonce.go`, `aes.go`.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    AES_128, AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey,
};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use aws_lc_rs::iv::FixedLength;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::etcd::stored::{SeedType, Stored};

const INFO_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const KEY_BYTES: usize = 32;
const IV_BYTES: usize = 16;

/// Why a value cannot be opened, although its seed was unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum OpenError {
    /// What was unwrapped cannot be a key of AES.
    #[error("the unwrapped seed has {0} bytes, which is no key of AES")]
    SeedLength(usize),
    /// The tag of AES-GCM does not fit.
    #[error(
        "the authentication tag does not fit: the value was changed, or belongs to another key of etcd"
    )]
    Tag,
    /// What comes out is nothing that kube-apiserver stores.
    #[error("what it decrypts to is no object of kube-apiserver")]
    Foreign,
}

/// How much an opened value proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// The tag fits: exactly this was stored under this key of etcd.
    Authentic,
    /// AES-CBC, of KMS v1 before Kubernetes 1.25: it decrypts, but has no tag.
    Decrypts,
}

/// Opens values. Holds a buffer that is wiped with it.
#[derive(Default)]
pub(super) struct Opener {
    buffer: Zeroizing<Vec<u8>>,
}

impl Opener {
    /// Opens a value of KMS with its unwrapped seed or key. `None` for other values.
    pub(super) fn open(
        &mut self,
        stored: &Stored<'_>,
        seed: &[u8],
        etcd_key: &[u8],
    ) -> Option<Result<Opened, OpenError>> {
        match stored {
            Stored::KmsV2(kms) => {
                let data = kms.object.encrypted_data.as_slice();
                Some(match kms.object.seed_type() {
                    SeedType::Key => self.open_gcm(seed, data, etcd_key),
                    SeedType::Seed => self.open_derived(seed, data, etcd_key),
                })
            }
            Stored::KmsV1(kms) => Some(match self.open_gcm(seed, kms.data, etcd_key) {
                Err(OpenError::Tag) => self.open_cbc(seed, kms.data),
                outcome => outcome,
            }),
            Stored::Plain(_) | Stored::Local(_) => None,
        }
    }

    fn open_derived(
        &mut self,
        seed: &[u8],
        data: &[u8],
        etcd_key: &[u8],
    ) -> Result<Opened, OpenError> {
        let (info, sealed) = data.split_at_checked(INFO_BYTES).ok_or(OpenError::Tag)?;
        let key = derive(seed, info).ok_or(OpenError::SeedLength(seed.len()))?;
        self.open_gcm(&*key, sealed, etcd_key)
    }

    fn open_gcm(&mut self, key: &[u8], sealed: &[u8], aad: &[u8]) -> Result<Opened, OpenError> {
        let algorithm = match key.len() {
            16 => &AES_128_GCM,
            32 => &AES_256_GCM,
            length => return Err(OpenError::SeedLength(length)),
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| OpenError::Tag)?;
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_BYTES).ok_or(OpenError::Tag)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Tag)?;
        self.buffer.clear();
        self.buffer.extend_from_slice(ciphertext);
        let opened = LessSafeKey::new(key).open_in_place(nonce, Aad::from(aad), &mut self.buffer);
        let plaintext = opened.map_err(|_| OpenError::Tag)?;
        is_object(plaintext)
            .then_some(Opened::Authentic)
            .ok_or(OpenError::Foreign)
    }

    fn open_cbc(&mut self, key: &[u8], data: &[u8]) -> Result<Opened, OpenError> {
        let algorithm = match key.len() {
            16 => &AES_128,
            32 => &AES_256,
            length => return Err(OpenError::SeedLength(length)),
        };
        let (iv, ciphertext) = data.split_at_checked(IV_BYTES).ok_or(OpenError::Tag)?;
        if ciphertext.is_empty() || !ciphertext.len().is_multiple_of(16) {
            return Err(OpenError::Tag);
        }
        let iv = FixedLength::try_from(iv).map_err(|_| OpenError::Tag)?;
        let key = UnboundCipherKey::new(algorithm, key).map_err(|_| OpenError::Tag)?;
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(|_| OpenError::Tag)?;
        self.buffer.clear();
        self.buffer.extend_from_slice(ciphertext);
        let opened = key.decrypt(&mut self.buffer, DecryptionContext::Iv128(iv));
        match opened {
            Ok(plaintext) if is_object(plaintext) => Ok(Opened::Decrypts),
            _ => Err(OpenError::Tag),
        }
    }
}

/// HKDF-Expand alone, as kube-apiserver does.
fn derive(seed: &[u8], info: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    struct KeyLength;
    impl KeyType for KeyLength {
        fn len(&self) -> usize {
            KEY_BYTES
        }
    }
    if seed.len() < KEY_BYTES {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let info = [info];
    let material = Prk::new_less_safe(HKDF_SHA256, seed);
    let expanded = material.expand(&info, KeyLength).ok()?;
    expanded.fill(&mut *key).ok()?;
    Some(key)
}

/// Whether a plaintext is something that kube-apiserver stores.
fn is_object(plaintext: &[u8]) -> bool {
    matches!(Stored::parse(plaintext), Ok(Stored::Plain(_)))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::Value;

    use super::*;

    /// Written by the packages of kube-apiserver (`tests/stored_values`).
    const SAMPLES: &str = include_str!("../../../tests/golden/stored_values.jsonl");

    fn bytes(sample: &Value, field: &str) -> Vec<u8> {
        let text = sample[field].as_str().expect("a field");
        STANDARD.decode(text).expect("base64")
    }

    /// The samples of KMS.
    fn samples() -> Vec<Value> {
        let all = SAMPLES
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        let of_kms = |sample: &Value| {
            sample["form"]
                .as_str()
                .is_some_and(|form| form.starts_with("kms"))
        };
        let samples: Vec<Value> = all.filter(of_kms).collect();
        assert_eq!(samples.len(), 4);
        samples
    }

    fn open(value: &[u8], seed: &[u8], key: &str) -> Result<Opened, OpenError> {
        let stored = Stored::parse(value).expect("a value");
        Opener::default()
            .open(&stored, seed, key.as_bytes())
            .expect("of KMS")
    }

    #[test]
    fn what_kube_apiserver_encrypted_is_opened_under_its_own_key_alone() {
        for sample in samples() {
            let (value, seed) = (bytes(&sample, "value"), bytes(&sample, "seed"));
            let key = sample["etcd_key"].as_str().expect("a key");
            let form = sample["form"].as_str().expect("a form");
            let is_cbc = form.ends_with("AES-CBC");
            let expected = if is_cbc {
                Opened::Decrypts
            } else {
                Opened::Authentic
            };
            assert_eq!(open(&value, &seed, key), Ok(expected), "{form}");
            // AES-CBC binds a value to nothing.
            let elsewhere = open(&value, &seed, "/registry/secrets/default/other");
            assert_eq!(
                elsewhere,
                if is_cbc {
                    Ok(expected)
                } else {
                    Err(OpenError::Tag)
                },
                "{form}"
            );
            let mut other = seed.clone();
            other[0] ^= 1;
            assert_eq!(open(&value, &other, key), Err(OpenError::Tag), "{form}");
            assert_eq!(
                open(&value, &seed[..5], key),
                Err(OpenError::SeedLength(5)),
                "{form}"
            );
        }
    }

    #[test]
    fn no_changed_bit_of_the_data_is_overlooked() {
        for sample in samples() {
            let form = sample["form"].as_str().expect("a form");
            if form.ends_with("AES-CBC") {
                continue;
            }
            let (value, seed) = (bytes(&sample, "value"), bytes(&sample, "seed"));
            let key = sample["etcd_key"].as_str().expect("a key");
            let mut opener = Opener::default();
            let mut opened = 0;
            for bit in 0..value.len() * 8 {
                let mut changed = value.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                // Names, key_id and wrapped seed are not bound by the tag: what they lead to is for others to say.
                let Ok(stored) = Stored::parse(&changed) else {
                    continue;
                };
                let is_data_whole = data(&stored) == data(&Stored::parse(&value).expect("a value"));
                let outcome = opener.open(&stored, &seed, key.as_bytes());
                if matches!(outcome, Some(Ok(_))) {
                    assert!(is_data_whole, "{form}: bit {bit}");
                    opened += 1;
                }
            }
            assert!(opened > 0, "{form}");
        }
    }

    fn data(stored: &Stored<'_>) -> Vec<u8> {
        match stored {
            Stored::KmsV1(kms) => kms.data.to_vec(),
            Stored::KmsV2(kms) => kms.object.encrypted_data.clone(),
            _ => Vec::new(),
        }
    }
}
