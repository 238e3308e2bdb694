//! The forms of a stored value: what encrypted it, with what, and what is damaged. Pure.
//!
//! The forms are those of `k8s.io/apiserver`: `storage/value/encrypt` and `server/options/encryptionconfig`.

mod damaged;
mod envelope;

use std::fmt;

pub use damaged::Damaged;
pub use envelope::{EncryptedObject, SeedType};

/// What every encrypted value begins with (`encryptionconfig/config.go`).
const ENCRYPTED: &[u8] = b"k8s:enc:";
/// What a value in protobuf begins with (`runtime/serializer/protobuf`).
const PROTOBUF: &[u8] = b"k8s\0";
/// The self-described tag of a value in CBOR (RFC 8949, 3.4.6).
const CBOR: &[u8] = &[0xd9, 0xd9, 0xf7];
/// The longest name of a provider or a key that is read from a value, in bytes: such names are not limited by
/// kube-apiserver, but what is longer is not a name.
const MAX_NAME: usize = 1024;

/// A value of etcd, as far as it can be read without a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored<'a> {
    /// Not encrypted.
    Plain(Encoding),
    /// Encrypted by a key of the EncryptionConfiguration itself.
    Local(Local<'a>),
    /// Encrypted by a seed of its own, which a KMS plugin wrapped.
    KmsV1(KmsV1<'a>),
    /// Encrypted by a key that is derived from a seed, which a KMS plugin wrapped.
    KmsV2(KmsV2<'a>),
}

/// How a value that is not encrypted is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Protobuf, of built-in resources.
    Protobuf,
    /// JSON, of custom resources.
    Json,
    /// CBOR.
    Cbor,
}

/// The providers whose keys are in the EncryptionConfiguration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LocalKind {
    /// AES-CBC with PKCS#7.
    AesCbc,
    /// AES-GCM.
    AesGcm,
    /// XSalsa20 and Poly1305.
    Secretbox,
}

/// A value that a local key encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local<'a> {
    /// The provider.
    pub kind: LocalKind,
    /// The name of the key.
    pub key_name: &'a str,
    /// Nonce or IV, and ciphertext.
    pub data: &'a [u8],
}

/// A value that KMS v1 encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsV1<'a> {
    /// The name of the provider.
    pub provider: &'a str,
    /// The data-encryption key, as the plugin wrapped it.
    pub wrapped: &'a [u8],
    /// Nonce and ciphertext; before Kubernetes 1.25 IV and ciphertext of AES-CBC.
    pub data: &'a [u8],
}

/// A value that KMS v2 encrypted.
#[derive(Debug, Clone, PartialEq)]
pub struct KmsV2<'a> {
    /// The name of the provider.
    pub provider: &'a str,
    /// What kube-apiserver stored.
    pub object: EncryptedObject,
}

impl<'a> Stored<'a> {
    /// Reads a value.
    ///
    /// # Errors
    /// If it has none of the forms, is cut off, or is what kube-apiserver would not accept.
    pub fn parse(value: &'a [u8]) -> Result<Self, Damaged> {
        if let Some(rest) = value.strip_prefix(ENCRYPTED) {
            return encrypted(rest);
        }
        if value.starts_with(PROTOBUF) {
            return Ok(Self::Plain(Encoding::Protobuf));
        }
        if value.starts_with(CBOR) {
            return Ok(Self::Plain(Encoding::Cbor));
        }
        match value.first() {
            None => Err(Damaged::Empty),
            Some(b'{') => Ok(Self::Plain(Encoding::Json)),
            Some(_) if ENCRYPTED.starts_with(value) || PROTOBUF.starts_with(value) => {
                Err(Damaged::Cut("it ends inside its prefix".to_owned()))
            }
            Some(_) => Err(Damaged::Foreign(beginning(value))),
        }
    }

    /// The provider as the metrics of kube-apiserver and the EncryptionConfiguration tell providers apart.
    #[must_use]
    pub fn provider(&self) -> Provider {
        match self {
            Self::Plain(_) => Provider::Identity,
            Self::Local(local) => Provider::Local {
                kind: local.kind,
                key_name: local.key_name.to_owned(),
            },
            Self::KmsV1(kms) => Provider::KmsV1(kms.provider.to_owned()),
            Self::KmsV2(kms) => Provider::KmsV2(kms.provider.to_owned()),
        }
    }
}

/// What encrypted a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// Nothing.
    Identity,
    /// A key of the EncryptionConfiguration.
    Local {
        /// The provider.
        kind: LocalKind,
        /// The name of the key.
        key_name: String,
    },
    /// The KMS v1 provider of this name.
    KmsV1(String),
    /// The KMS v2 provider of this name.
    KmsV2(String),
}

impl LocalKind {
    /// The name of the provider in the EncryptionConfiguration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AesCbc => "aescbc",
            Self::AesGcm => "aesgcm",
            Self::Secretbox => "secretbox",
        }
    }

    /// The fewest bytes that a value has: AES-CBC's IV and one block, AES-GCM's nonce and tag, secretbox' nonce and tag.
    const fn min_bytes(self) -> usize {
        match self {
            Self::AesCbc => 16 + 16,
            Self::AesGcm => 12 + 16,
            Self::Secretbox => 24 + 16,
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("identity"),
            Self::Local { kind, key_name } => write!(f, "{} {key_name}", kind.as_str()),
            Self::KmsV1(name) => write!(f, "kms v1 {name}"),
            Self::KmsV2(name) => write!(f, "kms v2 {name}"),
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protobuf => "protobuf",
            Self::Json => "JSON",
            Self::Cbor => "CBOR",
        })
    }
}

/// The key version of a ciphertext of Transit, `vault:v<version>:…`.
#[must_use]
pub fn transit_version(wrapped: &[u8]) -> Option<u32> {
    let rest = wrapped.strip_prefix(b"vault:v")?;
    let digits = rest.split(|byte| *byte == b':').next()?;
    if digits.len() == rest.len() {
        return None;
    }
    let version = std::str::from_utf8(digits).ok()?.parse().ok()?;
    // A version 0 is read as 1 (Vault `keysutil/policy.go`).
    Some(if version == 0 { 1 } else { version })
}

fn encrypted(rest: &[u8]) -> Result<Stored<'_>, Damaged> {
    let (kind, rest) = name(rest, "the name of the provider's kind")?;
    let (version, rest) = name(rest, "the version of the provider")?;
    let local = match kind {
        "aescbc" => Some(LocalKind::AesCbc),
        "aesgcm" => Some(LocalKind::AesGcm),
        "secretbox" => Some(LocalKind::Secretbox),
        _ => None,
    };
    match (kind, version, local) {
        (_, "v1", Some(kind)) => {
            let (key_name, data) = name(rest, "the name of the key")?;
            let missing = kind.min_bytes().saturating_sub(data.len());
            if missing > 0 {
                let text = format!("at least {missing} bytes of the ciphertext are missing");
                return Err(Damaged::Cut(text));
            }
            if kind == LocalKind::AesCbc && !data.len().is_multiple_of(16) {
                let text = "the ciphertext of AES-CBC is not of whole blocks".to_owned();
                return Err(Damaged::Cut(text));
            }
            Ok(Stored::Local(Local {
                kind,
                key_name,
                data,
            }))
        }
        ("kms", "v1", None) => kms_v1(rest),
        ("kms", "v2", None) => {
            let (provider, data) = name(rest, "the name of the provider")?;
            let object = EncryptedObject::parse(data)?;
            Ok(Stored::KmsV2(KmsV2 { provider, object }))
        }
        _ => Err(Damaged::Unknown(format!(
            "k8s:enc:{kind}:{version}: is no provider that this version knows"
        ))),
    }
}

fn kms_v1(rest: &[u8]) -> Result<Stored<'_>, Damaged> {
    let (provider, data) = name(rest, "the name of the provider")?;
    let cut = |what: &str| Damaged::Cut(format!("{what} is not whole"));
    let (length, data) = data
        .split_first_chunk::<2>()
        .ok_or_else(|| cut("the length of the wrapped key"))?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length == 0 {
        return Err(Damaged::Invalid("the wrapped key is empty".to_owned()));
    }
    let (wrapped, data) = data
        .split_at_checked(length)
        .ok_or_else(|| cut("the wrapped key"))?;
    if data.len() < LocalKind::AesGcm.min_bytes() {
        return Err(cut("the ciphertext"));
    }
    Ok(Stored::KmsV1(KmsV1 {
        provider,
        wrapped,
        data,
    }))
}

/// Splits a name off, up to its colon.
fn name<'a>(rest: &'a [u8], what: &str) -> Result<(&'a str, &'a [u8]), Damaged> {
    let searched = &rest[..rest.len().min(MAX_NAME + 1)];
    let Some(end) = searched.iter().position(|byte| *byte == b':') else {
        return Err(if searched.len() == rest.len() {
            Damaged::Cut(format!("it ends inside {what}"))
        } else {
            Damaged::Invalid(format!("{what} has no end"))
        });
    };
    let text = std::str::from_utf8(&rest[..end]);
    let text = text.map_err(|_| Damaged::Invalid(format!("{what} is not UTF-8")))?;
    if text.chars().any(char::is_control) {
        return Err(Damaged::Invalid(format!("{what} has a control character")));
    }
    Ok((text, &rest[end + 1..]))
}

/// The first bytes, for an error: few enough to show nothing of a value.
fn beginning(value: &[u8]) -> String {
    let shown: Vec<_> = value
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests;
