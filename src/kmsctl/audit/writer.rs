//! What wrote a value: the provider, and with which key.

use std::fmt;

use serde::Serialize;

use crate::etcd::stored::{LocalKind, SeedType, Stored, transit_version};
use crate::keys::KeyIdParts;

/// What wrote a value. Values of one writer are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Writer {
    /// The value is not encrypted.
    Identity,
    /// A key of the EncryptionConfiguration.
    Local {
        /// The provider.
        kind: LocalKind,
        /// The name of the key.
        key_name: String,
    },
    /// A KMS v1 provider.
    KmsV1 {
        /// Its name.
        provider: String,
        /// The version of the Transit key; `None` if the key was not wrapped by Transit.
        version: Option<u32>,
    },
    /// A KMS v2 provider.
    KmsV2 {
        /// Its name.
        provider: String,
        /// The key_id.
        key_id: String,
        /// What was wrapped.
        seed_type: SeedType,
        /// The version of the Transit key; `None` if the seed was not wrapped by Transit.
        version: Option<u32>,
    },
}

/// The Transit key of a writer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyName {
    /// A key that the key_id names.
    Key {
        /// The namespace of the mount; empty for the root namespace.
        namespace: String,
        /// The mount.
        mount: String,
        /// The key.
        name: String,
    },
    /// The key of a provider whose values do not name it: KMS v1, other plugins.
    OfProvider(String),
}

impl Writer {
    /// What wrote this value.
    pub(super) fn of(stored: &Stored<'_>) -> Self {
        match stored {
            Stored::Plain(_) => Self::Identity,
            Stored::Local(local) => Self::Local {
                kind: local.kind,
                key_name: local.key_name.to_owned(),
            },
            Stored::KmsV1(kms) => Self::KmsV1 {
                provider: kms.provider.to_owned(),
                version: transit_version(kms.wrapped),
            },
            Stored::KmsV2(kms) => Self::KmsV2 {
                provider: kms.provider.to_owned(),
                key_id: kms.object.key_id.clone(),
                seed_type: kms.object.seed_type(),
                version: transit_version(&kms.object.wrapped),
            },
        }
    }

    /// The Transit key, and its version if that can be read. `None` if no KMS plugin wrote it.
    pub(super) fn key(&self) -> Option<(KeyName, Option<u32>)> {
        match self {
            Self::Identity | Self::Local { .. } => None,
            Self::KmsV1 { version, .. } => Some((KeyName::OfProvider(self.provider()), *version)),
            Self::KmsV2 {
                key_id, version, ..
            } => {
                let key = match KeyIdParts::parse(key_id) {
                    Some(parts) => KeyName::Key {
                        namespace: parts.namespace,
                        mount: parts.mount,
                        name: parts.key,
                    },
                    None => KeyName::OfProvider(self.provider()),
                };
                Some((key, *version))
            }
        }
    }

    /// Whether the key_id names another version than the one that wrapped the seed, which no fault of an operator
    /// brings about.
    pub(super) fn contradicts_itself(&self) -> bool {
        let Self::KmsV2 {
            key_id,
            version: Some(version),
            ..
        } = self
        else {
            return false;
        };
        KeyIdParts::parse(key_id).is_some_and(|parts| parts.version != *version)
    }

    /// The provider without its key, as an EncryptionConfiguration tells providers apart.
    pub(super) fn provider(&self) -> String {
        match self {
            Self::Identity => "identity".to_owned(),
            Self::Local { kind, .. } => kind.as_str().to_owned(),
            Self::KmsV1 { provider, .. } => format!("kms v1 {provider}"),
            Self::KmsV2 { provider, .. } => format!("kms v2 {provider}"),
        }
    }

    /// The key of the provider: a name, a key_id, or for KMS v1 the version of the Transit key.
    pub(super) fn key_text(&self) -> String {
        match self {
            Self::Identity => String::new(),
            Self::Local { key_name, .. } => key_name.clone(),
            Self::KmsV1 { version, .. } => match version {
                Some(version) => format!("version {version}"),
                None => "not wrapped by Transit".to_owned(),
            },
            Self::KmsV2 { key_id, .. } => key_id.clone(),
        }
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.provider())?;
        match self {
            Self::Identity => Ok(()),
            _ => write!(f, " {}", self.key_text()),
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfProvider(provider) => write!(f, "the key of provider {provider}"),
            Self::Key {
                namespace,
                mount,
                name,
            } if namespace.is_empty() => write!(f, "{mount}/keys/{name}"),
            Self::Key {
                namespace,
                mount,
                name,
            } => write!(f, "{mount}/keys/{name} in namespace {namespace}"),
        }
    }
}
