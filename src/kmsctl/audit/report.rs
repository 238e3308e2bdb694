//! What an audit found, for people, programs and Prometheus: one structure from which all three are written.

use std::collections::BTreeMap;

use serde::Serialize;

use super::finding::Finding;
use super::findings::{Judge, State};
use super::minimum::{self, Minimum};
use super::remedy;
use super::verify::Verified;
use super::writer::{KeyName, Writer};
use crate::etcd::stored::SeedType;
use crate::system::one_line;

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    /// What was read.
    pub(super) origin: &'a str,
    /// The revision.
    pub(super) revision: i64,
    /// The revision at which the scan went on, because its own was compacted meanwhile.
    pub(super) continued_at: Option<i64>,
    /// Current objects.
    pub(super) objects: u64,
    /// Keys below the prefix that are of no object.
    pub(super) other_keys: u64,
    /// Values that were replaced or deleted, and are still there.
    pub(super) older_revisions: u64,
    /// Distinct wrapped seeds and keys: the Decrypts of a cold start of kube-apiserver.
    pub(super) distinct_seeds: u64,
    /// Objects whose seed was sealed under a local KEK: no other plugin reads them.
    pub(super) local_kek_objects: u64,
    /// What wrote the objects of each resource.
    pub(super) groups: Vec<Row>,
    /// The current key of each KMS v2 provider.
    pub(super) current_keys: Vec<CurrentKey>,
    /// What is wrong.
    pub(super) findings: Vec<Finding>,
    /// The versions of each Transit key.
    pub(super) keys: Vec<Minimum>,
    /// What the verification found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verified: Option<&'a Verified>,
    /// The command that lists what depends on the first object that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dependents: Option<String>,
    /// How long it took, in seconds.
    pub(super) seconds: f64,
}

/// The objects of a resource that one writer wrote.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// The resource.
    pub(super) resource: String,
    /// The provider.
    pub(super) provider: String,
    /// Its key: a name, a key_id, a version.
    pub(super) key: String,
    /// What was wrapped, under KMS v2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seed_type: Option<&'static str>,
    /// The version of the Transit key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<u32>,
    /// How many objects.
    pub(super) objects: u64,
    /// Their values in etcd, in bytes.
    pub(super) bytes: u64,
    /// What they are.
    pub(super) state: State,
    /// How many in each namespace; the empty one is that of cluster-wide objects.
    pub(super) namespaces: BTreeMap<String, u64>,
}

/// The current key of a KMS v2 provider.
#[derive(Debug, Serialize)]
pub(super) struct CurrentKey {
    /// The provider.
    pub(super) provider: String,
    /// Its key_id.
    pub(super) key: String,
    /// Whether that is only what the newest write shows.
    pub(super) by_newest_write: bool,
}

/// What a report is made of besides what was counted.
pub(super) struct Facts {
    /// What was read.
    pub(super) origin: String,
    /// The revision.
    pub(super) revision: i64,
    /// The revision at which the scan went on, because its own was compacted meanwhile.
    pub(super) continued_at: Option<i64>,
    /// What the verification found.
    pub(super) verified: Option<Verified>,
    /// `min_decryption_version` of the key that Vault was asked about.
    pub(super) set: Option<(KeyName, u32)>,
    /// How long it took, in seconds.
    pub(super) seconds: f64,
}

impl Report<'_> {
    /// Writes down what was found.
    pub(super) fn new<'a>(judge: &Judge<'a>, facts: &'a Facts) -> Report<'a> {
        let tally = judge.tally;
        let first = facts.verified.as_ref().and_then(Verified::first);
        let first = first.or(tally.damaged.first().map(|(name, _)| name));
        Report {
            origin: &facts.origin,
            revision: facts.revision,
            continued_at: facts.continued_at,
            objects: tally.objects,
            other_keys: tally.others,
            older_revisions: tally.older,
            distinct_seeds: tally.seeds.len() as u64,
            local_kek_objects: tally.local_kek,
            groups: rows(judge),
            current_keys: current_keys(judge),
            findings: judge.findings(facts.verified.as_ref()),
            keys: minimum::minima(tally, facts.set.as_ref()),
            dependents: first.map(remedy::dependents),
            verified: facts.verified.as_ref(),
            seconds: facts.seconds,
        }
    }
}

fn rows(judge: &Judge<'_>) -> Vec<Row> {
    let groups = judge.tally.groups.iter();
    let row = |((resource, writer), group): (&(_, Writer), &super::tally::Group)| {
        let (seed_type, version) = match writer {
            Writer::KmsV2 {
                seed_type, version, ..
            } => (Some(SeedType::as_str(*seed_type)), *version),
            Writer::KmsV1 { version, .. } => (None, *version),
            Writer::Identity | Writer::Local { .. } => (None, None),
        };
        let namespaces = group.by_namespace.iter();
        Row {
            state: judge.state(resource, writer),
            resource: one_line(&resource.to_string()),
            provider: one_line(&writer.provider()),
            key: one_line(&writer.key_text()),
            seed_type,
            version,
            objects: group.count(),
            bytes: group.bytes,
            namespaces: namespaces
                .map(|(name, count)| (one_line(name), *count))
                .collect(),
        }
    };
    groups.map(row).collect()
}

fn current_keys(judge: &Judge<'_>) -> Vec<CurrentKey> {
    let mut keys: BTreeMap<String, (String, bool)> = BTreeMap::new();
    for (_, writer) in judge.tally.groups.keys() {
        if matches!(writer, Writer::KmsV2 { .. })
            && let Some(current) = judge.current.of(writer)
        {
            keys.insert(writer.provider(), current);
        }
    }
    let current = |(provider, (key, by_newest_write)): (String, (String, bool))| CurrentKey {
        provider: one_line(&provider),
        key: one_line(&key),
        by_newest_write,
    };
    keys.into_iter().map(current).collect()
}
