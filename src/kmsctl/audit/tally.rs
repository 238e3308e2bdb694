//! Counts records by what they are of and what wrote them. Memory grows with the number of groups and of distinct
//! seeds, not with that of records.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::writer::{KeyName, Writer};
use crate::etcd::object_name::{ObjectName, Resource};
use crate::etcd::scan::Record;
use crate::etcd::stored::{Damaged, Stored};
use crate::keys::LOCAL_KEK;
use crate::sha256::sha256;

/// Where records come from, and what is counted of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The current objects, by resource and writer.
    pub(super) groups: BTreeMap<(Resource, Writer), Group>,
    /// The objects that have none of the forms.
    pub(super) damaged: Vec<(ObjectName, Damaged)>,
    /// How many there are; the list has a limit.
    pub(super) damaged_count: u64,
    /// Current objects.
    pub(super) objects: u64,
    /// Keys below the prefix that are of no object.
    pub(super) others: u64,
    /// Records that were replaced or deleted, and are still there.
    pub(super) older: u64,
    /// For each Transit key, the versions that records need.
    pub(super) uses: BTreeMap<KeyName, BTreeMap<u32, Uses>>,
    /// For each Transit key, records whose version cannot be read.
    pub(super) unknown_versions: BTreeMap<KeyName, u64>,
    /// Records of any age and of any backup that have none of the forms: which version they need cannot be known.
    pub(super) unreadable_records: u64,
    /// The distinct wrapped seeds and keys of current objects: as many Decrypts as a cold start of kube-apiserver costs.
    pub(super) seeds: HashSet<SeedHash>,
    /// Current objects whose seed was sealed under a local KEK: no other plugin reads them.
    pub(super) local_kek: u64,
    /// The newest value that each writer wrote.
    pub(super) newest: HashMap<Writer, i64>,
    /// How many names of each group are kept.
    pub(super) names_kept: usize,
    prefix: String,
}

/// What is known of the objects of one resource and one writer.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// How many, by namespace.
    pub(super) by_namespace: BTreeMap<String, u64>,
    /// The sizes of their values in etcd together.
    pub(super) bytes: u64,
    /// The newest revision of them.
    pub(super) newest: i64,
    /// The first of them by name, as many as were asked for.
    pub(super) names: Vec<ObjectName>,
}

/// Where a version of a key is needed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Uses {
    /// By current objects.
    pub(super) current: u64,
    /// By older revisions, until etcd is compacted.
    pub(super) older: u64,
    /// By each backup.
    pub(super) backups: BTreeMap<String, u64>,
}

/// Enough of the SHA-256 of a wrapped seed to tell seeds apart.
pub(super) type SeedHash = [u8; 16];

/// Where a record is of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// Of what is audited.
    Audited,
    /// Of a backup, of which only the versions matter.
    Backup(&'a str),
}

impl Group {
    /// How many objects.
    pub(super) fn count(&self) -> u64 {
        self.by_namespace.values().sum()
    }
}

impl Tally {
    /// Nothing is counted yet. Of each group the first `names_kept` names are kept.
    pub(super) fn new(prefix: &str, names_kept: usize) -> Self {
        Self {
            names_kept,
            prefix: prefix.to_owned(),
            ..Self::default()
        }
    }

    /// Counts one record, which was read as `stored`.
    pub(super) fn add(
        &mut self,
        record: &Record,
        stored: Result<&Stored<'_>, &Damaged>,
        place: Place<'_>,
    ) {
        let writer = stored.map(Writer::of);
        // Whatever its key is of, and however old it is: its version is needed.
        match &writer {
            Ok(writer) => self.add_use(writer, record.is_current, place),
            Err(_) => self.unreadable_records += 1,
        }
        if matches!(place, Place::Backup(_)) {
            return;
        }
        let Some(name) = ObjectName::parse(&record.key, &self.prefix) else {
            self.others += u64::from(record.is_current);
            return;
        };
        if !record.is_current {
            self.older += 1;
            return;
        }
        self.objects += 1;
        match (writer, stored) {
            (Ok(writer), Ok(stored)) => self.add_current(name, writer, stored, record),
            (_, Err(damaged)) => {
                self.damaged_count += 1;
                if self.damaged.len() < self.names_kept {
                    self.damaged.push((name, damaged.clone()));
                }
            }
            (Err(_), Ok(_)) => {}
        }
    }

    fn add_current(
        &mut self,
        name: ObjectName,
        writer: Writer,
        stored: &Stored<'_>,
        record: &Record,
    ) {
        let sealed = sealed_locally(stored);
        self.local_kek += u64::from(sealed.is_some());
        if let Some(wrapped) = wrapped(stored) {
            let seed = [wrapped, sealed.unwrap_or_default()].concat();
            self.seeds.insert(seed_hash(&seed));
        }
        let newest = self.newest.entry(writer.clone()).or_default();
        *newest = (*newest).max(record.mod_revision);
        let group = self
            .groups
            .entry((name.resource.clone(), writer))
            .or_default();
        group.bytes += record.value.len() as u64;
        group.newest = group.newest.max(record.mod_revision);
        match group.by_namespace.get_mut(&name.namespace) {
            Some(count) => *count += 1,
            None => {
                group.by_namespace.insert(name.namespace.clone(), 1);
            }
        }
        if group.names.len() < self.names_kept {
            group.names.push(name);
        }
    }

    fn add_use(&mut self, writer: &Writer, is_current: bool, place: Place<'_>) {
        let Some((key, version)) = writer.key() else {
            return;
        };
        let Some(version) = version else {
            *self.unknown_versions.entry(key).or_default() += 1;
            return;
        };
        let uses = self
            .uses
            .entry(key)
            .or_default()
            .entry(version)
            .or_default();
        match place {
            Place::Backup(name) => *uses.backups.entry(name.to_owned()).or_default() += 1,
            Place::Audited if is_current => uses.current += 1,
            Place::Audited => uses.older += 1,
        }
    }
}

/// The wrapped seed or key of a value.
pub(super) fn wrapped<'a>(stored: &'a Stored<'_>) -> Option<&'a [u8]> {
    match stored {
        Stored::KmsV1(kms) => Some(kms.wrapped),
        Stored::KmsV2(kms) => Some(&kms.object.wrapped),
        Stored::Plain(_) | Stored::Local(_) => None,
    }
}

/// The seed of a value that was sealed under a local KEK, which is what is wrapped then.
fn sealed_locally<'a>(stored: &'a Stored<'_>) -> Option<&'a [u8]> {
    let Stored::KmsV2(kms) = stored else {
        return None;
    };
    let sealed = kms.object.annotations.get(LOCAL_KEK)?;
    Some(sealed)
}

/// What tells seeds apart.
pub(super) fn seed_hash(wrapped: &[u8]) -> SeedHash {
    let hash = sha256(wrapped);
    let mut short = SeedHash::default();
    short.copy_from_slice(&hash[..16]);
    short
}
