//! The local KEK of a cache that is on, and when an outage begins and ends.

use super::*;
use crate::keys::error::ErrorKind;
use crate::keys::tests::{key, proven};
use crate::vault::Ciphertext;

const SETTINGS: SeedCacheSettings = SeedCacheSettings {
    max_age: Duration::from_secs(3600),
    local_kek: true,
};

fn running() -> Running {
    Running::start(SETTINGS).expect("a locked page")
}

fn spare(version: u32) -> Spare {
    let wrapped = Ciphertext::try_new(format!("vault:v{version}:AAAA").into_bytes());
    Spare::new(&key(), proven(100, version), wrapped.expect("a ciphertext"))
}

fn kek() -> Plaintext {
    Plaintext::new(vec![3; 32])
}

fn seed() -> Plaintext {
    Plaintext::new(vec![7; 32])
}

fn away() -> KeyError {
    KeyError::new(ErrorKind::Unavailable, "vault is away")
}

#[test]
fn a_kek_is_needed_and_ready_for_the_version_that_wrapped_it() {
    let mut running = running();
    assert!(running.needs_kek(&proven(100, 1)) && !running.has_kek(&proven(100, 1)));
    assert_eq!(running.kek_state(), Some(false));
    running.keep_kek(&key(), spare(1), &kek());
    assert!(!running.needs_kek(&proven(100, 1)) && running.has_kek(&proven(100, 1)));
    assert!(running.needs_kek(&proven(100, 2)) && !running.has_kek(&proven(100, 2)));
    assert_eq!(running.kek_state(), Some(true));
    running.wipe("a test");
    assert!(running.needs_kek(&proven(100, 1)) && !running.has_kek(&proven(100, 1)));
    assert_eq!(running.kek_state(), Some(false));
    assert_eq!(running.store.len(), 0);
}

#[test]
fn a_kek_that_sealed_a_seed_is_used_on_and_replaced_when_vault_is_back() {
    let mut running = running();
    assert!(
        running.seal(&proven(100, 1), &seed(), &away()).is_none(),
        "there is none"
    );
    running.keep_kek(&key(), spare(1), &kek());
    assert!(
        running.seal(&proven(100, 2), &seed(), &away()).is_none(),
        "of another version"
    );
    assert!(!running.needs_kek(&proven(100, 1)));
    for _ in 0..2 {
        let made = running
            .seal(&proven(100, 1), &seed(), &away())
            .expect("sealed");
        assert_eq!(made.wrapped.as_str(), "vault:v1:AAAA");
        let opened = crate::keys::local_kek::open(&kek(), &made.wrapped, &made.sealed);
        let opened = opened.expect("opened");
        assert_eq!(opened.expose_secret(), seed().expose_secret());
        assert!(running.needs_kek(&proven(100, 1)) && running.has_kek(&proven(100, 1)));
        assert_eq!(running.kek_state(), Some(true));
    }
}

#[test]
fn without_a_local_kek_in_the_settings_none_is_needed_or_kept() {
    let mut running = running();
    running.keep_kek(&key(), spare(1), &kek());
    running.change(SETTINGS);
    assert!(running.has_kek(&proven(100, 1)));
    let off = SeedCacheSettings {
        max_age: Duration::from_secs(60),
        local_kek: false,
    };
    running.change(off);
    assert_eq!(running.max_age, off.max_age);
    assert!(!running.has_kek(&proven(100, 1)) && !running.needs_kek(&proven(100, 1)));
    assert_eq!(running.kek_state(), None);
}

#[test]
fn an_outage_lasts_from_its_first_answer_until_vault_does_something() {
    let mut running = running();
    assert!(running.serving.is_none());
    for count in 1..4 {
        running.answered(&away());
        let answered = running.serving.as_ref().map(|it| it.answered);
        assert_eq!(answered, Some(count));
    }
    running.vault_answers();
    assert!(running.serving.is_none());
    running.answered(&away());
    running.wipe("a test");
    assert!(running.serving.is_none());
}

#[test]
fn the_reason_for_no_kek_is_remembered_until_there_is_one() {
    let mut running = running();
    running.no_kek(&away());
    assert_eq!(running.kek_error.as_deref(), Some("vault is away"));
    running.no_kek(&KeyError::new(ErrorKind::Denied, "denied"));
    assert_eq!(running.kek_error.as_deref(), Some("denied"));
    running.keep_kek(&key(), spare(1), &kek());
    assert_eq!(running.kek_error, None);
}

#[test]
fn a_seed_that_is_too_old_to_be_answered_is_forgotten() {
    let mut running = running();
    running.keep_kek(&key(), spare(1), &kek());
    running.expire();
    assert_eq!(running.store.len(), 1);
    running.max_age = Duration::ZERO;
    running.expire();
    assert_eq!(running.store.len(), 0);
}
