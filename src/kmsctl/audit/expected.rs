//! What should write each resource: the EncryptionConfiguration, if it is given, and the current key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::tally::Tally;
use super::writer::Writer;
use crate::commands::check::{NamedProvider, Plan};
use crate::etcd::object_name::Resource;
use crate::keys::{KeyId, KeyIdParts};
use crate::kmsctl::output::Problem;
use crate::system::Exit;

/// The file.
pub(super) struct Expected {
    /// Its path.
    pub(super) path: PathBuf,
    plan: Plan,
}

/// What the file says of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// It writes.
    Writes,
    /// It only reads: the object should be written again.
    Reads,
    /// It is not there: kube-apiserver cannot read the object.
    Missing,
}

impl Expected {
    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read, or kube-apiserver would refuse it.
    pub(super) fn read(path: &Path) -> Result<Self, Problem> {
        let plan = Plan::read(path).map_err(|causes| Problem {
            causes,
            exit: Exit::Config,
        })?;
        Ok(Self {
            path: path.to_owned(),
            plan,
        })
    }

    /// What the file says of a writer of this resource.
    pub(super) fn rank(&self, resource: &Resource, writer: &Writer) -> Rank {
        let Some(providers) = self.providers(resource) else {
            // A resource that is not named is neither encrypted nor decrypted.
            return if *writer == Writer::Identity {
                Rank::Writes
            } else {
                Rank::Missing
            };
        };
        match providers.iter().position(|one| reads(one, writer)) {
            None => Rank::Missing,
            Some(0) if is_first_key(&providers[0], writer) => Rank::Writes,
            Some(_) => Rank::Reads,
        }
    }

    /// The provider that writes a resource, as an operator names it.
    pub(super) fn writer(&self, resource: &Resource) -> String {
        let providers = self.providers(resource).unwrap_or_default();
        match providers.first() {
            None | Some(NamedProvider::Identity) => "identity".to_owned(),
            Some(NamedProvider::Local { kind, key_names }) => {
                let key = key_names.first().map_or("", String::as_str);
                format!("{kind} {key}")
            }
            Some(NamedProvider::Kms { version, name }) => format!("kms {version} {name}"),
        }
    }

    fn providers(&self, resource: &Resource) -> Option<Vec<NamedProvider>> {
        self.plan.providers_of(&resource.group, &resource.name)
    }
}

fn reads(provider: &NamedProvider, writer: &Writer) -> bool {
    match (provider, writer) {
        (NamedProvider::Identity, Writer::Identity) => true,
        (NamedProvider::Local { kind, key_names }, Writer::Local { kind: of, key_name }) => {
            *kind == of.as_str() && key_names.contains(key_name)
        }
        (NamedProvider::Kms { version, name }, Writer::KmsV1 { provider, .. }) => {
            version == "v1" && name == provider
        }
        (NamedProvider::Kms { version, name }, Writer::KmsV2 { provider, .. }) => {
            version == "v2" && name == provider
        }
        _ => false,
    }
}

/// Of several local keys the first writes.
fn is_first_key(provider: &NamedProvider, writer: &Writer) -> bool {
    match (provider, writer) {
        (NamedProvider::Local { key_names, .. }, Writer::Local { key_name, .. }) => {
            key_names.first() == Some(key_name)
        }
        _ => true,
    }
}

/// The current key of each KMS provider.
#[derive(Debug, Default)]
pub(super) struct CurrentKeys {
    /// The key_id that was given, or that follows from the key in Vault.
    pub(super) given: Option<String>,
    /// The KMS v2 providers that it is of: those with a value of the same key, else all, because none may have written
    /// with a new key yet. The others are of other plugins.
    given_for: Vec<String>,
    /// The hash of the key_id that a provider uses, by its name, where kube-apiserver was asked.
    announced: BTreeMap<String, String>,
    /// Where no key_id was given or asked for: the latest version of the key of each provider's newest write.
    newest: Vec<(String, Writer)>,
}

impl CurrentKeys {
    /// Those of the records that were counted.
    pub(super) fn new(given: Option<String>, tally: &Tally) -> Self {
        let mut newest: BTreeMap<String, (&Writer, i64)> = BTreeMap::new();
        for (writer, revision) in &tally.newest {
            let latest = newest
                .entry(writer.provider())
                .or_insert((writer, *revision));
            if latest.1 < *revision {
                *latest = (writer, *revision);
            }
        }
        let latest_version = |(writer, _): (&Writer, i64)| latest_version(writer, tally).clone();
        let newest = newest
            .into_iter()
            .map(|(of, latest)| (of, latest_version(latest)));
        let given_for = given.as_deref().map(|given| providers_of(given, tally));
        Self {
            given,
            given_for: given_for.unwrap_or_default(),
            announced: BTreeMap::new(),
            newest: newest.collect(),
        }
    }

    /// The same where it is known which key_id providers use, by its hash. Where etcd holds a later version of that key,
    /// the kube-apiserver that was asked lags behind another one, and what it said is left out.
    pub(super) fn with_announced(
        self,
        announced: &BTreeMap<String, String>,
        tally: &Tally,
    ) -> Self {
        let lags = |name: &str, hash: &str| {
            let of_provider = tally.newest.keys().filter(
                |writer| matches!(writer, Writer::KmsV2 { provider, .. } if provider == name),
            );
            let is_announced = |writer: &&Writer| KeyId::from(writer.key_text()).hash() == hash;
            let found = of_provider.clone().find(is_announced);
            found.is_some_and(|found| latest_version(found, tally).key_text() != found.key_text())
        };
        let announced = announced.iter().filter(|(name, hash)| !lags(name, hash));
        Self {
            announced: announced
                .map(|(name, hash)| (name.clone(), hash.clone()))
                .collect(),
            ..self
        }
    }

    /// Whether this was written with the current key of its provider.
    pub(super) fn is_current(&self, writer: &Writer) -> bool {
        match writer {
            // kube-apiserver takes what KMS v1 wrote for up to date, whatever the version: v1 has no key_id.
            Writer::Identity | Writer::Local { .. } | Writer::KmsV1 { .. } => true,
            Writer::KmsV2 {
                provider, key_id, ..
            } => {
                if let Some(hash) = self.announced.get(provider) {
                    return KeyId::from(key_id.clone()).hash() == *hash;
                }
                let current = self.of(writer);
                current.is_none_or(|(current, _)| current == writer.key_text())
            }
        }
    }

    /// The current key of a provider, and whether that is only what the newest write shows.
    pub(super) fn of(&self, writer: &Writer) -> Option<(String, bool)> {
        let given = self.given.as_ref().filter(|_| {
            matches!(writer, Writer::KmsV2 { .. }) && self.given_for.contains(&writer.provider())
        });
        match given {
            Some(given) => Some((given.clone(), false)),
            None => self
                .newest_of(writer)
                .map(|newest| (newest.key_text(), true)),
        }
    }

    fn newest_of(&self, writer: &Writer) -> Option<&Writer> {
        let provider = writer.provider();
        let newest = self.newest.iter().find(|(of, _)| *of == provider);
        newest.map(|(_, writer)| writer)
    }
}

/// The newest version of the key that made a write: a node that is cut off from Vault writes with an earlier one.
fn latest_version<'a>(newest: &'a Writer, tally: &'a Tally) -> &'a Writer {
    let rank = |writer: &Writer, revision: i64| {
        let Writer::KmsV2 { key_id, .. } = writer else {
            return None;
        };
        let parts = KeyIdParts::parse(key_id)?;
        Some((parts.version, revision))
    };
    let same_key = tally.newest.iter().filter(|(writer, _)| {
        writer.provider() == newest.provider()
            && names_same_key(&writer.key_text(), &newest.key_text())
    });
    let latest = same_key.max_by_key(|(writer, revision)| rank(writer, **revision));
    latest.map_or(newest, |(writer, _)| writer)
}

/// The KMS v2 providers that a key_id may be of.
fn providers_of(given: &str, tally: &Tally) -> Vec<String> {
    let v2 = || {
        tally.newest.keys().filter_map(|writer| match writer {
            Writer::KmsV2 { key_id, .. } => Some((writer.provider(), key_id)),
            _ => None,
        })
    };
    let of_same_key = v2().filter(|(_, key_id)| names_same_key(key_id, given));
    let same: Vec<_> = of_same_key.map(|(provider, _)| provider).collect();
    if same.is_empty() {
        return v2().map(|(provider, _)| provider).collect();
    }
    same
}

fn names_same_key(key_id: &str, given: &str) -> bool {
    match (KeyIdParts::parse(key_id), KeyIdParts::parse(given)) {
        (Some(one), Some(other)) => {
            (one.namespace, one.mount, one.key) == (other.namespace, other.mount, other.key)
        }
        _ => key_id == given,
    }
}
