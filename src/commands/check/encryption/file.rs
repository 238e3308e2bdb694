//! An EncryptionConfiguration as kube-apiserver has it in memory: with its defaults, and here without
//! any key.

use std::time::Duration;

/// KMS v1 is what a provider without an apiVersion is.
pub(super) const DEFAULT_API_VERSION: &str = "v1";

/// The whole file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct File {
    /// Its entries, in their order.
    pub(super) entries: Vec<Entry>,
}

/// One entry of the list `resources`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// What it is for, as the file names it.
    pub(super) resources: Vec<String>,
    /// Its providers, in their order.
    pub(super) providers: Vec<Provider>,
}

/// One element of the list `providers`. It should have one field; more and none are possible.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Provider {
    /// A KMS plugin.
    pub(super) kms: Option<Kms>,
    /// Keys of the file itself.
    pub(super) local: Vec<Local>,
    /// No encryption.
    pub(super) identity: bool,
}

/// A provider with keys of the file itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Local {
    /// `aescbc`, `aesgcm` or `secretbox`.
    pub(super) kind: &'static str,
    /// Its keys.
    pub(super) keys: Vec<Key>,
}

/// A key, as far as its form goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Its name, which each value that it encrypted carries.
    pub(super) name: String,
    /// Its secret.
    pub(super) secret: Secret,
}

/// The form of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secret {
    /// There is none.
    Missing,
    /// It is not base64.
    NotBase64,
    /// How many bytes it has.
    Bytes(usize),
}

/// A KMS provider.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kms {
    /// As it is given.
    pub(super) api_version: Option<String>,
    /// Its name, which each object in etcd carries.
    pub(super) name: String,
    /// The socket of the plugin, as a URL.
    pub(super) endpoint: String,
    /// How long kube-apiserver waits for a call, as it is given.
    pub(super) timeout: Option<Timeout>,
    /// How many keys KMS v1 keeps.
    pub(super) cache_size: Option<i64>,
}

/// A timeout that is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Timeout {
    /// Its text.
    pub(super) text: String,
    /// Its length.
    pub(super) time: Duration,
}

impl Provider {
    /// The name of its field.
    pub(super) fn kind(&self) -> &'static str {
        match (&self.kms, self.local.first()) {
            (Some(_), _) => "kms",
            (None, Some(local)) => local.kind,
            (None, None) => "identity",
        }
    }
}

impl Kms {
    /// The API version.
    pub(super) fn api_version(&self) -> &str {
        match self.api_version.as_deref() {
            None | Some("") => DEFAULT_API_VERSION,
            Some(version) => version,
        }
    }
}
