//! What is wrong with the objects: a function of what was counted, of the EncryptionConfiguration and of the current key.

use std::collections::BTreeMap;

use serde::Serialize;

use super::expected::{CurrentKeys, Expected, Rank};
use super::finding::Finding;
use super::tally::{Group, Tally};
use super::verify::Verified;
use super::writer::Writer;
use crate::etcd::object_name::{ObjectName, Resource};
use crate::etcd::stored::Damaged;
use crate::system::one_line;

/// What a group of objects is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Encrypted by the provider that writes, with its current key.
    Current,
    /// Not encrypted, as nothing asks for.
    PlainAsConfigured,
    /// Not encrypted, and should be.
    NotEncrypted,
    /// Written by a provider or a local key that is no more the one that writes.
    OtherProvider,
    /// Written with an earlier key_id or version of the same provider.
    StaleKey,
    /// Written by a provider that the EncryptionConfiguration does not have.
    NotInConfiguration,
}

/// What the states and the findings depend on.
pub(super) struct Judge<'a> {
    /// What was counted.
    pub(super) tally: &'a Tally,
    /// The file, if one was given.
    pub(super) expected: Option<&'a Expected>,
    /// The current keys.
    pub(super) current: &'a CurrentKeys,
}

impl State {
    /// Whether writing the object again is what is needed.
    pub(super) fn is_stale(self) -> bool {
        matches!(
            self,
            Self::NotEncrypted | Self::OtherProvider | Self::StaleKey
        )
    }

    /// For the table.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::PlainAsConfigured => "not encrypted",
            Self::NotEncrypted => "NOT ENCRYPTED",
            Self::OtherProvider => "OTHER PROVIDER",
            Self::StaleKey => "STALE",
            Self::NotInConfiguration => "NOT IN THE CONFIGURATION",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::PlainAsConfigured => "plain_as_configured",
            Self::NotEncrypted => "not_encrypted",
            Self::OtherProvider => "other_provider",
            Self::StaleKey => "stale_key",
            Self::NotInConfiguration => "not_in_configuration",
        }
    }
}

impl Judge<'_> {
    /// The state of a group.
    pub(super) fn state(&self, resource: &Resource, writer: &Writer) -> State {
        let state = match self.expected {
            Some(expected) => match expected.rank(resource, writer) {
                Rank::Writes if *writer == Writer::Identity => State::PlainAsConfigured,
                Rank::Writes => State::Current,
                Rank::Reads if *writer == Writer::Identity => State::NotEncrypted,
                Rank::Reads => State::OtherProvider,
                Rank::Missing => State::NotInConfiguration,
            },
            None => self.state_by_newest(resource, writer),
        };
        if state == State::Current && !self.current.is_current(writer) {
            return State::StaleKey;
        }
        state
    }

    /// Without a file the newest write of a resource shows what writes it now.
    fn state_by_newest(&self, resource: &Resource, writer: &Writer) -> State {
        let groups = self.tally.groups.iter();
        let encrypted = groups
            .filter(|((of, writer), _)| of == resource && *writer != Writer::Identity)
            .max_by_key(|(_, group)| group.newest);
        let newest = encrypted.map(|((_, writer), _)| writer);
        match (writer, newest) {
            (Writer::Identity, None) if !is_secrets(resource) => State::PlainAsConfigured,
            (Writer::Identity, _) => State::NotEncrypted,
            (_, None) => State::Current,
            (Writer::Local { .. }, Some(newest)) if newest != writer => State::OtherProvider,
            (_, Some(newest)) if newest.provider() != writer.provider() => State::OtherProvider,
            _ => State::Current,
        }
    }

    /// The objects that have to be written again, as far as their names were kept.
    pub(super) fn stale(&self) -> Vec<ObjectName> {
        let groups = self.tally.groups.iter();
        let stale =
            groups.filter(|((resource, writer), _)| self.state(resource, writer).is_stale());
        stale.flat_map(|(_, group)| group.names.clone()).collect()
    }

    /// All findings, the most pressing ones first.
    pub(super) fn findings(&self, verified: Option<&Verified>) -> Vec<Finding> {
        let mut findings: Vec<_> = verified.into_iter().flat_map(Verified::findings).collect();
        findings.extend(self.damaged());
        let mut groups: BTreeMap<(State, &Resource), Vec<(&Writer, &Group)>> = BTreeMap::new();
        for ((resource, writer), group) in &self.tally.groups {
            let state = self.state(resource, writer);
            if state.is_stale() || state == State::NotInConfiguration {
                groups
                    .entry((state, resource))
                    .or_default()
                    .push((writer, group));
            }
            if writer.contradicts_itself() {
                findings.push(contradiction(writer, group));
            }
        }
        let found = groups.into_iter().rev();
        findings.extend(
            found.map(|((state, resource), groups)| self.of_groups(state, resource, &groups)),
        );
        findings
    }

    fn of_groups(
        &self,
        state: State,
        resource: &Resource,
        groups: &[(&Writer, &Group)],
    ) -> Finding {
        let count = groups.iter().map(|(_, group)| group.count()).sum();
        let names = groups.iter().flat_map(|(_, group)| &group.names);
        let mut by: Vec<_> = groups
            .iter()
            .map(|(writer, _)| one_line(&writer.to_string()))
            .collect();
        by.sort();
        by.dedup();
        let by = by.join(", ");
        let writes = self.expected.map(|expected| expected.writer(resource));
        let now = writes.map_or(String::new(), |writer| {
            format!("; {} writes them now", one_line(&writer))
        });
        let text = match state {
            State::NotEncrypted => format!("{} not encrypted{now}", objects(count, resource)),
            State::StaleKey => format!("{} under an earlier key: {by}", objects(count, resource)),
            State::NotInConfiguration => {
                let file = self
                    .expected
                    .map(|it| it.path.display().to_string())
                    .unwrap_or_default();
                format!(
                    "{} of {by}, which {file} does not have for them: kube-apiserver cannot read them",
                    objects(count, resource)
                )
            }
            _ => format!("{} of {by}{now}", objects(count, resource)),
        };
        Finding {
            kind: state.kind(),
            resource: Some(one_line(&resource.to_string())),
            count,
            text,
            remedy: remedy(state, self.expected),
            names: names
                .take(self.tally.names_kept)
                .map(|name| one_line(&name.to_string()))
                .collect(),
            last_resort: Vec::new(),
        }
    }

    fn damaged(&self) -> Option<Finding> {
        let count = self.tally.damaged_count;
        let named = self.tally.damaged.iter();
        (count > 0).then(|| Finding {
            kind: "damaged",
            resource: None,
            count,
            text: format!("{count} values have no form that kube-apiserver writes"),
            remedy: "restore these objects from a backup of etcd; of those whose form is unknown, first see whether a \
                     newer vault-kmsctl reads them"
                .to_owned(),
            names: named
                .map(|(name, damaged)| one_line(&format!("{name}: {damaged}")))
                .collect(),
            last_resort: self
                .tally
                .damaged
                .iter()
                // Of a form that is not known here kube-apiserver may read it.
                .filter(|(_, damaged)| !matches!(damaged, Damaged::Unknown(_)))
                .map(|(name, _)| super::remedy::give_up(name))
                .collect(),
        })
    }
}

/// Whatever else is not encrypted, Secrets should be.
fn is_secrets(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.name == "secrets"
}

fn objects(count: u64, resource: &Resource) -> String {
    let resource = one_line(&resource.to_string());
    match count {
        1 => format!("1 object of {resource} is"),
        count => format!("{count} objects of {resource} are"),
    }
}

fn remedy(state: State, expected: Option<&Expected>) -> String {
    let file = expected.map_or("FILE".to_owned(), |expected| {
        expected.path.display().to_string()
    });
    match state {
        State::NotInConfiguration => "put the provider back into the EncryptionConfiguration of every kube-apiserver, below the one \
            that writes, and keep its key; then migrate"
            .to_owned(),
        State::NotEncrypted if expected.is_none() => format!(
            "if every kube-apiserver encrypts them now: vault-kmsctl migrate --encryption-config {file}"
        ),
        _ => format!("write them again: vault-kmsctl migrate --encryption-config {file}"),
    }
}

fn contradiction(writer: &Writer, group: &Group) -> Finding {
    Finding {
        kind: "key_id_contradiction",
        resource: None,
        count: group.count(),
        text: format!(
            "{} objects of {}: the seed was wrapped with another version than the key_id names",
            group.count(),
            one_line(&writer.to_string())
        ),
        remedy: "keep every version of the key, and report this as a fault of the plugin"
            .to_owned(),
        names: group
            .names
            .iter()
            .map(|name| one_line(&name.to_string()))
            .collect(),
        last_resort: Vec::new(),
    }
}
