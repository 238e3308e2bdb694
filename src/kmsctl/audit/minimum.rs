//! The lowest version of each Transit key that something still needs, and what that allows.

use serde::Serialize;

use super::tally::{Tally, Uses};
use super::writer::KeyName;
use crate::kmsctl::words::quoted;

/// What is known of the versions of one Transit key.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Minimum {
    /// The key.
    pub(super) key: KeyName,
    /// The versions that something needs, the lowest first.
    pub(super) versions: Vec<VersionUse>,
    /// The greatest `min_decryption_version` with which everything that was read stays readable. `None` if that cannot
    /// be said.
    pub(super) safe_minimum: Option<u32>,
    /// The command that sets it.
    pub(super) command: Option<String>,
    /// Why there is no command, or why it cannot be greater.
    pub(super) reasons: Vec<String>,
}

/// Who needs a version.
#[derive(Debug, Clone, Serialize)]
pub(super) struct VersionUse {
    /// The version.
    pub(super) version: u32,
    /// Current objects.
    pub(super) objects: u64,
    /// Older revisions, which etcd forgets when it is compacted.
    pub(super) older_revisions: u64,
    /// The backups, with how many values of each.
    pub(super) backups: Vec<(String, u64)>,
}

/// The minimum of each key. `unreadable` objects may be of any key and version. `set` is what Vault has now, of the key
/// that it is asked about.
pub(super) fn minima(tally: &Tally, set: Option<&(KeyName, u32)>) -> Vec<Minimum> {
    let keys = tally.uses.keys().chain(tally.unknown_versions.keys());
    let mut keys: Vec<_> = keys.cloned().collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .map(|key| minimum(tally, key, set))
        .collect()
}

fn minimum(tally: &Tally, key: KeyName, set: Option<&(KeyName, u32)>) -> Minimum {
    let versions: Vec<_> = uses(tally, &key).collect();
    let mut reasons = unknown(tally, &key);
    let is_known = reasons.is_empty();
    let mut lowest = versions.first().map(|first| first.version);
    if matches!(key, KeyName::Key { .. }) {
        for (other, version) in nameless(tally) {
            if lowest.is_some_and(|lowest| version < lowest) {
                lowest = Some(version);
                reasons.push(format!(
                    "version {version} is needed by values of {other}, which do not name it: it may be this one"
                ));
            }
        }
    } else {
        reasons.push("the values do not name the key: no command can be given".to_owned());
    }
    let safe_minimum = lowest.filter(|_| is_known);
    let set = set.filter(|(of, _)| *of == key).map(|(_, set)| *set);
    let command = match (safe_minimum, &key) {
        (
            Some(safe),
            KeyName::Key {
                namespace,
                mount,
                name,
            },
        ) if safe > set.unwrap_or(1).max(1) => Some(command(namespace, mount, name, safe)),
        _ => None,
    };
    if let [first, .., last] = versions.as_slice()
        && first.version < last.version
    {
        reasons.push(why_not_more(first, &key));
    }
    if let (Some(set), Some(lowest)) = (set, lowest)
        && lowest < set
    {
        reasons.push(format!(
            "min_decryption_version is {set} already, above version {lowest}, which is needed: lower it to {lowest}"
        ));
    }
    Minimum {
        key,
        versions,
        safe_minimum,
        command,
        reasons,
    }
}

fn uses<'a>(tally: &'a Tally, key: &KeyName) -> impl Iterator<Item = VersionUse> + 'a {
    let uses = tally.uses.get(key).into_iter().flatten();
    uses.map(|(version, uses)| version_use(*version, uses))
}

/// The lowest versions of the keys that values do not name. They may be versions of any key: a plugin can serve KMS v1
/// and v2 with the same one.
fn nameless(tally: &Tally) -> impl Iterator<Item = (&KeyName, u32)> {
    let keys = tally.uses.iter();
    let nameless = keys.filter(|(key, _)| matches!(key, KeyName::OfProvider(_)));
    nameless.filter_map(|(key, uses)| Some((key, *uses.keys().next()?)))
}

/// Why nothing can be said: values that may need any version of this key.
fn unknown(tally: &Tally, key: &KeyName) -> Vec<String> {
    let mut reasons = Vec::new();
    for (of, count) in &tally.unknown_versions {
        if of == key || matches!(of, KeyName::OfProvider(_)) {
            reasons.push(format!(
                "{count} values of {of} do not show which version wrapped them"
            ));
        }
    }
    if tally.unreadable_records > 0 {
        let count = tally.unreadable_records;
        reasons.push(format!(
            "{count} values cannot be read at all: restored, they may need any version"
        ));
    }
    reasons
}

fn version_use(version: u32, uses: &Uses) -> VersionUse {
    VersionUse {
        version,
        objects: uses.current,
        older_revisions: uses.older,
        backups: uses.backups.clone().into_iter().collect(),
    }
}

/// Who keeps the lowest version from being retired.
fn why_not_more(lowest: &VersionUse, key: &KeyName) -> String {
    let mut needs = Vec::new();
    if lowest.objects > 0 {
        let how = match key {
            KeyName::OfProvider(provider) if provider.starts_with("kms v1 ") => {
                "kube-apiserver writes them again under a KMS v2 provider, or when they change"
            }
            KeyName::Key { .. } | KeyName::OfProvider(_) => "migrate them",
        };
        needs.push(format!("{} objects ({how})", lowest.objects));
    }
    if lowest.older_revisions > 0 {
        needs.push(format!(
            "{} older revisions (until etcd is compacted, by kube-apiserver every 5 minutes)",
            lowest.older_revisions
        ));
    }
    for (backup, count) in &lowest.backups {
        needs.push(format!(
            "{count} values of backup {backup} (for as long as it may be restored)"
        ));
    }
    format!(
        "version {} is needed by {}",
        lowest.version,
        needs.join(", ")
    )
}

/// The command for an operator of Vault.
fn command(namespace: &str, mount: &str, name: &str, version: u32) -> String {
    let namespace = match namespace {
        "" => String::new(),
        namespace => format!("-namespace={} ", quoted(namespace)),
    };
    let path = quoted(&format!("{mount}/keys/{name}/config"));
    format!("vault write {namespace}{path} min_decryption_version={version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KeyName {
        KeyName::Key {
            namespace: String::new(),
            mount: "transit".to_owned(),
            name: "kms".to_owned(),
        }
    }

    fn tally(uses: &[(u32, Uses)]) -> Tally {
        let mut tally = Tally::new("/registry", 10);
        tally.uses.insert(key(), uses.iter().cloned().collect());
        tally
    }

    fn current(objects: u64) -> Uses {
        Uses {
            current: objects,
            ..Uses::default()
        }
    }

    fn only(tally: &Tally, set: Option<u32>) -> Minimum {
        let set = set.map(|set| (key(), set));
        minima(tally, set.as_ref()).remove(0)
    }

    #[test]
    fn the_minimum_is_the_lowest_version_that_anything_needs() {
        let minimum = only(&tally(&[(3, current(9)), (4, current(1))]), None);
        assert_eq!(minimum.safe_minimum, Some(3));
        let command = "vault write transit/keys/kms/config min_decryption_version=3";
        assert_eq!(minimum.command.as_deref(), Some(command));
        assert!(minimum.reasons[0].contains("version 3 is needed by 9 objects"));
        // It is set already, or there is nothing to set.
        assert_eq!(only(&tally(&[(3, current(9))]), Some(3)).command, None);
        assert_eq!(only(&tally(&[(1, current(9))]), None).command, None);
    }

    #[test]
    fn an_older_revision_or_a_backup_holds_the_minimum_down() {
        let older = Uses {
            older: 2,
            ..Uses::default()
        };
        let minimum = only(&tally(&[(1, older), (4, current(1))]), None);
        assert_eq!((minimum.safe_minimum, minimum.command), (Some(1), None));
        assert!(minimum.reasons[0].contains("2 older revisions"));
        let backup = Uses {
            backups: [("monday.db".to_owned(), 7)].into(),
            ..Uses::default()
        };
        let minimum = only(&tally(&[(2, backup), (4, current(1))]), None);
        assert_eq!(minimum.safe_minimum, Some(2));
        assert!(minimum.reasons[0].contains("7 values of backup monday.db"));
    }

    #[test]
    fn what_cannot_be_read_allows_no_minimum() {
        let mut damaged = tally(&[(3, current(9))]);
        damaged.unreadable_records = 1;
        let minimum = only(&damaged, None);
        assert_eq!((minimum.safe_minimum, minimum.command), (None, None));
        let mut unknown = tally(&[(3, current(9))]);
        unknown.unknown_versions.insert(key(), 1);
        assert_eq!(only(&unknown, None).safe_minimum, None);
    }

    /// The same plugin may serve KMS v1, whose values name no key.
    #[test]
    fn values_that_name_no_key_hold_every_minimum_down() {
        let v1 = KeyName::OfProvider("kms v1 old".to_owned());
        let mut both = tally(&[(3, current(9))]);
        both.uses.insert(v1.clone(), [(2, current(4))].into());
        let found = minima(&both, None);
        let named = found.iter().find(|one| one.key == key()).expect("the key");
        assert_eq!(named.safe_minimum, Some(2));
        assert!(
            named.reasons[0].contains("provider kms v1 old"),
            "{:?}",
            named.reasons
        );
        let other = found.iter().find(|one| one.key == v1).expect("the other");
        assert_eq!(other.command, None);
        let mut foreign = tally(&[(3, current(9))]);
        foreign.unknown_versions.insert(v1, 1);
        assert_eq!(only(&foreign, None).safe_minimum, None);
    }

    #[test]
    fn a_minimum_that_is_too_high_is_said() {
        let minimum = only(&tally(&[(2, current(1)), (4, current(1))]), Some(3));
        assert!(
            minimum
                .reasons
                .iter()
                .any(|one| one.contains("lower it to 2")),
            "{:?}",
            minimum.reasons
        );
        assert_eq!(minimum.command, None);
    }

    #[test]
    fn what_comes_from_etcd_is_quoted_for_a_shell() {
        assert_eq!(
            command("team a", "transit", "kms", 2),
            "vault write -namespace='team a' transit/keys/kms/config min_decryption_version=2"
        );
    }
}
