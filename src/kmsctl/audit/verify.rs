//! Opens every object of KMS with its seed, as kube-apiserver would, and keeps what cannot be opened.

use std::collections::BTreeMap;

use serde::Serialize;

use super::finding::Finding;
use super::open::{OpenError, Opened, Opener};
use super::remedy;
use super::seed_keys::Wanted;
use super::seeds::Seeds;
use super::tally::wrapped;
use crate::etcd::object_name::ObjectName;
use crate::etcd::scan::Record;
use crate::etcd::stored::Stored;
use crate::kmsctl::output::Problem;
use crate::system::one_line;

/// More kinds of failures than this are counted as one.
const MAX_CAUSES: usize = 200;

/// What the verification found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Verified {
    /// Objects whose tag fits.
    pub(super) authentic: u64,
    /// Objects of AES-CBC under KMS v1, which decrypt but have no tag.
    pub(super) decrypts: u64,
    /// Objects that no KMS plugin encrypted: not encrypted, or by a key of the EncryptionConfiguration.
    pub(super) not_checked: u64,
    /// Objects that cannot be read.
    pub(super) unreadable: u64,
    /// Distinct seeds that were unwrapped.
    pub(super) seeds: u64,
    #[serde(skip)]
    causes: BTreeMap<Cause, Objects>,
}

/// Why objects cannot be read, and what makes them readable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Cause {
    text: String,
    remedy: String,
    /// Whether nothing in Vault can make the objects readable again.
    is_final: bool,
}

#[derive(Debug, Default)]
struct Objects {
    count: u64,
    names: Vec<ObjectName>,
}

/// Verifies pages of records.
pub(super) struct Verifier {
    seeds: Seeds,
    opener: Opener,
    verified: Verified,
    prefix: String,
    names_kept: usize,
}

impl Verifier {
    /// With these seeds. Of each cause the first `names_kept` names are kept.
    pub(super) fn new(seeds: Seeds, prefix: &str, names_kept: usize) -> Self {
        Self {
            seeds,
            opener: Opener::default(),
            verified: Verified::default(),
            prefix: prefix.to_owned(),
            names_kept,
        }
    }

    /// Verifies the current objects of a page.
    ///
    /// # Errors
    /// If Vault cannot be asked.
    pub(super) async fn add(&mut self, page: &[Record]) -> Result<(), Problem> {
        let current = page.iter().filter(|record| record.is_current);
        // What is damaged is counted as that.
        let parsed =
            current.filter_map(|record| Some((record, Stored::parse(&record.value).ok()?)));
        let parsed: Vec<_> = parsed.collect();
        let wanted: Vec<_> = parsed
            .iter()
            .filter_map(|(_, stored)| wanted(stored))
            .collect();
        self.seeds.unwrap(&wanted).await?;
        for (record, stored) in &parsed {
            if let Some(name) = ObjectName::parse(&record.key, &self.prefix) {
                self.open(name, record, stored);
            }
        }
        Ok(())
    }

    /// The outcome; ends the session with Vault.
    pub(super) async fn finish(mut self) -> Verified {
        self.verified.seeds = self.seeds.unwrapped;
        self.seeds.close().await;
        self.verified
    }

    fn open(&mut self, name: ObjectName, record: &Record, stored: &Stored<'_>) {
        let Some(wanted) = wanted(stored) else {
            self.verified.not_checked += 1;
            return;
        };
        let cause = match self.seeds.get(&wanted) {
            // It was asked for with this page, so that it is known; what is not proven is never counted as read.
            None => Cause {
                text: "its seed was not unwrapped".to_owned(),
                remedy: "audit again, and report this as a fault".to_owned(),
                is_final: false,
            },
            Some(Err(error)) => Cause {
                text: error.cause.clone(),
                remedy: error.remedy.clone(),
                is_final: false,
            },
            Some(Ok(seed)) => match self.opener.open(stored, seed.expose_secret(), &record.key) {
                None => return,
                Some(Ok(Opened::Authentic)) => {
                    self.verified.authentic += 1;
                    return;
                }
                Some(Ok(Opened::Decrypts)) => {
                    self.verified.decrypts += 1;
                    return;
                }
                Some(Err(error)) => of_open_error(error),
            },
        };
        self.verified.add(cause, name, self.names_kept);
    }
}

impl Verified {
    fn add(&mut self, cause: Cause, name: ObjectName, names_kept: usize) {
        self.unreadable += 1;
        let is_new = !self.causes.contains_key(&cause);
        let cause = if is_new && self.causes.len() >= MAX_CAUSES {
            Cause {
                text: "other causes: see the first ones".to_owned(),
                remedy: "solve the first ones, and audit again".to_owned(),
                is_final: false,
            }
        } else {
            cause
        };
        let objects = self.causes.entry(cause).or_default();
        objects.count += 1;
        if objects.names.len() < names_kept {
            objects.names.push(name);
        }
    }

    /// A finding for each cause.
    pub(super) fn findings(&self) -> impl Iterator<Item = Finding> {
        self.causes.iter().map(|(cause, objects)| Finding {
            kind: "unreadable",
            resource: None,
            count: objects.count,
            text: format!(
                "{} objects cannot be read: {}",
                objects.count,
                one_line(&cause.text)
            ),
            remedy: cause.remedy.clone(),
            names: objects
                .names
                .iter()
                .map(|name| one_line(&name.to_string()))
                .collect(),
            last_resort: if cause.is_final {
                objects.names.iter().map(remedy::give_up).collect()
            } else {
                Vec::new()
            },
        })
    }

    /// The first object that nothing in Vault makes readable, for the command that shows what depends on it.
    pub(super) fn first(&self) -> Option<&ObjectName> {
        let mut causes = self.causes.iter().filter(|(cause, _)| cause.is_final);
        causes.find_map(|(_, objects)| objects.names.first())
    }
}

fn wanted<'a>(stored: &'a Stored<'_>) -> Option<Wanted<'a>> {
    let object = match stored {
        Stored::KmsV2(kms) => Some(&kms.object),
        _ => None,
    };
    Some(Wanted {
        wrapped: wrapped(stored)?,
        key_id: object.map(|object| object.key_id.as_str()),
        annotations: object.map(|object| &object.annotations),
    })
}

fn of_open_error(error: OpenError) -> Cause {
    let remedy = match error {
        OpenError::SeedLength(_) => "restore the objects from a backup of etcd",
        OpenError::Tag | OpenError::Foreign => {
            "restore the objects from a backup of etcd; their seed is intact, so other objects with it are readable"
        }
    };
    Cause {
        text: error.to_string(),
        remedy: remedy.to_owned(),
        is_final: true,
    }
}
