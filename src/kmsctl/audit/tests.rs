//! States and findings: functions of what was counted, the file, and the current key.

mod advice;

use prost::Message;

use super::expected::{CurrentKeys, Expected};
use super::findings::{Judge, State};
use super::tally::{Place, Tally};
use crate::etcd::scan::Record;
use crate::etcd::stored::{EncryptedObject, Stored};
use crate::keys::KeyId;
pub(crate) use advice::advised_minimum;

const KEY_ID: &str = "transit1::transit:kms:v";

fn kms(provider: &str, key_id: &str, version: u32) -> Vec<u8> {
    let object = EncryptedObject {
        encrypted_data: vec![1; 60],
        key_id: key_id.to_owned(),
        wrapped: format!("vault:v{version}:AAAA").into_bytes(),
        annotations: std::collections::BTreeMap::default(),
        kind: 1,
    };
    let mut value = format!("k8s:enc:kms:v2:{provider}:").into_bytes();
    value.extend(object.encode_to_vec());
    value
}

fn version(version: u32) -> Vec<u8> {
    kms("vault", &format!("{KEY_ID}{version}:100{version}"), version)
}

fn local(kind: &str, key: &str) -> Vec<u8> {
    let mut value = format!("k8s:enc:{kind}:v1:{key}:").into_bytes();
    value.extend([2; 48]);
    value
}

fn plain() -> Vec<u8> {
    b"k8s\0\n".to_vec()
}

/// Counts values that were written one after the other, each under the name of its number.
fn tally(values: &[(&str, Vec<u8>)]) -> Tally {
    let mut tally = Tally::new("/registry", 10);
    for (number, (resource, value)) in values.iter().enumerate() {
        let record = Record {
            key: format!("/registry/{resource}/default/{number}")
                .into_bytes()
                .into(),
            value: value.clone().into(),
            mod_revision: i64::try_from(number).expect("a number"),
            is_current: true,
        };
        tally.add(
            &record,
            Stored::parse(&record.value).as_ref(),
            Place::Audited,
        );
    }
    tally
}

fn file(providers: &[&str]) -> Expected {
    let providers: String = providers.iter().map(|one| format!("  - {one}\n")).collect();
    let yaml = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets, '*.apps']\n  \
         providers:\n{providers}"
    );
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), yaml).expect("written");
    Expected::read(file.path()).expect("a file that kube-apiserver accepts")
}

const KMS: &str = "kms: {apiVersion: v2, name: vault, endpoint: 'unix:///kms.sock'}";
const AES: &str = "aescbc: {keys: [{name: new, secret: AAECAwQFBgcICQoLDA0ODw==}, {name: old, secret: AQECAwQFBgcICQoLDA0ODw==}]}";
const IDENTITY: &str = "identity: {}";

/// The state of each writer of a resource, with how many objects.
fn states(tally: &Tally, expected: Option<&Expected>, given: Option<&str>) -> Vec<(String, State)> {
    let current = CurrentKeys::new(given.map(str::to_owned), tally);
    let judge = Judge {
        tally,
        expected,
        current: &current,
    };
    let groups = tally.groups.keys();
    let shown = |(resource, writer): &(_, _)| {
        (
            format!("{resource} {writer}"),
            judge.state(resource, writer),
        )
    };
    groups.map(shown).collect()
}

fn has(states: &[(String, State)], writer: &str, state: State) {
    let found = states.iter().find(|(of, _)| of.contains(writer));
    assert_eq!(
        found.map(|(_, state)| *state),
        Some(state),
        "{writer}: {states:?}"
    );
}

#[test]
fn the_file_says_what_should_write_each_resource() {
    let tally = tally(&[
        ("secrets", plain()),
        ("secrets", local("aescbc", "new")),
        ("secrets", local("secretbox", "gone")),
        ("secrets", kms("other", "1", 1)),
        ("secrets", version(1)),
        ("secrets", version(2)),
        ("deployments", plain()),
        ("configmaps", plain()),
        ("pods", version(2)),
    ]);
    let writes = file(&[KMS, AES, IDENTITY]);
    let found = states(&tally, Some(&writes), None);
    has(&found, "secrets identity", State::NotEncrypted);
    has(&found, "secrets aescbc new", State::OtherProvider);
    has(&found, "secrets secretbox gone", State::NotInConfiguration);
    has(&found, "secrets kms v2 other", State::NotInConfiguration);
    has(
        &found,
        "secrets kms v2 vault transit1::transit:kms:v1",
        State::StaleKey,
    );
    has(
        &found,
        "secrets kms v2 vault transit1::transit:kms:v2",
        State::Current,
    );
    // By the wildcard of its group, and not by any.
    has(&found, "deployments.apps identity", State::NotEncrypted);
    has(&found, "configmaps identity", State::PlainAsConfigured);
    // What the file does not name is not decrypted either.
    has(&found, "pods kms v2 vault", State::NotInConfiguration);
    // Without identity what is not encrypted cannot be read.
    let strict = states(&tally, Some(&file(&[KMS, AES])), None);
    has(&strict, "secrets identity", State::NotInConfiguration);
    // Of two local keys the first writes.
    let local_keys = super::tests::tally(&[
        ("secrets", local("aescbc", "old")),
        ("secrets", local("aescbc", "new")),
    ]);
    let found = states(&local_keys, Some(&file(&[AES, IDENTITY])), None);
    has(&found, "aescbc old", State::OtherProvider);
    has(&found, "aescbc new", State::Current);
}

#[test]
fn without_a_file_the_newest_write_does() {
    let tally = tally(&[
        ("secrets", plain()),
        ("secrets", local("aescbc", "one")),
        ("secrets", version(1)),
        ("secrets", version(2)),
        ("configmaps", plain()),
        ("pods", version(1)),
        ("pods", local("aescbc", "one")),
    ]);
    let found = states(&tally, None, None);
    has(&found, "secrets identity", State::NotEncrypted);
    has(&found, "secrets aescbc", State::OtherProvider);
    has(
        &found,
        "secrets kms v2 vault transit1::transit:kms:v1",
        State::StaleKey,
    );
    has(&found, "kms:v2:1002", State::Current);
    has(&found, "configmaps identity", State::PlainAsConfigured);
    has(&found, "pods aescbc one", State::Current);
    // Secrets should be encrypted, whatever was written.
    let secrets = super::tests::tally(&[("secrets", plain())]);
    has(
        &states(&secrets, None, None),
        "secrets identity",
        State::NotEncrypted,
    );
}

#[test]
fn a_key_that_has_written_nothing_yet_makes_everything_stale() {
    let objects = tally(&[("secrets", version(1)), ("secrets", version(2))]);
    for given in [
        "transit1::transit:kms:v3:1003",
        "transit1::transit:other:v1:1004",
    ] {
        let found = states(&objects, None, Some(given));
        assert!(
            found.iter().all(|(_, state)| *state == State::StaleKey),
            "{given}: {found:?}"
        );
    }
    // Each provider has a key of its own: the given one is compared with those that use it.
    let two = tally(&[
        ("secrets", version(1)),
        ("secrets", version(2)),
        (
            "configmaps",
            kms("second", "transit1::transit:second:v7:1", 7),
        ),
    ]);
    let found = states(&two, None, Some("transit1::transit:kms:v2:1002"));
    has(&found, "kms:v1:1001", State::StaleKey);
    has(&found, "kms:v2:1002", State::Current);
    has(&found, "second", State::Current);
}

#[test]
fn what_kube_apiserver_announces_is_current_unless_etcd_shows_that_it_lags() {
    let objects = tally(&[
        ("secrets", version(1)),
        ("secrets", version(2)),
        ("secrets", version(1)),
    ]);
    let state = |key_id: &str| {
        let hash = KeyId::from(key_id.to_owned()).hash();
        let announced = [("vault".to_owned(), hash)].into();
        let current = CurrentKeys::new(None, &objects).with_announced(&announced, &objects);
        let judge = Judge {
            tally: &objects,
            expected: None,
            current: &current,
        };
        judge.stale().len()
    };
    // A new key, which has written nothing yet; the latest; an earlier one than another kube-apiserver writes with.
    assert_eq!(state("transit1::transit:kms:v3:1003"), 3);
    assert_eq!(state("transit1::transit:kms:v2:1002"), 2);
    assert_eq!(state("transit1::transit:kms:v1:1001"), 2);
}

/// Whatever the key of a value is of, and wherever it is kept: its version is needed, and what cannot be read may need any.
#[test]
fn no_value_is_left_out_of_the_safe_minimum() {
    let record = |key: &[u8], value: Vec<u8>, is_current| Record {
        key: key.to_vec().into(),
        value: value.into(),
        mod_revision: 1,
        is_current,
    };
    let minimum = |records: &[(Record, Place<'_>)]| {
        let mut tally = tally(&[("secrets", version(3))]);
        for (record, place) in records {
            tally.add(record, Stored::parse(&record.value).as_ref(), *place);
        }
        super::minimum::minima(&tally, None).remove(0).safe_minimum
    };
    assert_eq!(minimum(&[]), Some(3));
    let nameless = record(b"/registry/odd\xff", version(2), true);
    assert_eq!(minimum(&[(nameless, Place::Audited)]), Some(2));
    let cut = || version(2)[..60].to_vec();
    let older = record(b"/registry/secrets/a/b", cut(), false);
    assert_eq!(minimum(&[(older, Place::Audited)]), None);
    let kept = record(b"/registry/secrets/a/b", cut(), true);
    assert_eq!(minimum(&[(kept, Place::Backup("monday.db"))]), None);
}

/// A later kube-apiserver may read it: no request is shown that removes it.
#[test]
fn a_form_that_is_not_known_is_not_given_up() {
    let findings = |value: &[u8]| {
        let objects = tally(&[("secrets", version(1)), ("secrets", value.to_vec())]);
        let current = CurrentKeys::new(None, &objects);
        let judge = Judge {
            tally: &objects,
            expected: None,
            current: &current,
        };
        judge.findings(None).remove(0)
    };
    assert!(findings(b"k8s:enc:kms:v3:vault:abc").last_resort.is_empty());
    assert_eq!(findings(b"k8s:enc:kms:v2:vault:").last_resort.len(), 1);
}

#[test]
fn a_key_id_that_is_not_of_its_seed_is_a_finding() {
    let objects = tally(&[("secrets", kms("vault", "transit1::transit:kms:v2:1002", 1))]);
    let current = CurrentKeys::new(None, &objects);
    let judge = Judge {
        tally: &objects,
        expected: None,
        current: &current,
    };
    let kinds: Vec<_> = judge
        .findings(None)
        .iter()
        .map(|finding| finding.kind)
        .collect();
    assert_eq!(kinds, ["key_id_contradiction"]);
}
