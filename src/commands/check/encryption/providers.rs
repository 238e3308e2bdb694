//! Providers by their names, for those who compare a file with what etcd holds.

use super::file::Provider;

/// A provider, as stored values name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamedProvider {
    /// No encryption.
    Identity,
    /// Keys of the file itself, of which the first writes.
    Local {
        /// `aescbc`, `aesgcm` or `secretbox`.
        kind: &'static str,
        /// Their names.
        key_names: Vec<String>,
    },
    /// A KMS plugin.
    Kms {
        /// `v1` or `v2`.
        version: String,
        /// The name of the provider.
        name: String,
    },
}

/// A provider by its name. One with several fields, which kube-apiserver refuses, is each of them.
pub(super) fn names(provider: &Provider) -> Vec<NamedProvider> {
    let kms = provider.kms.iter().map(|kms| NamedProvider::Kms {
        version: kms.api_version().to_owned(),
        name: kms.name.clone(),
    });
    let local = provider.local.iter().map(|local| NamedProvider::Local {
        kind: local.kind,
        key_names: local.keys.iter().map(|key| key.name.clone()).collect(),
    });
    let identity = provider.identity.then_some(NamedProvider::Identity);
    kms.chain(local).chain(identity).collect()
}
