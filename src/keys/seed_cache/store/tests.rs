use super::*;
use crate::keys::seed_cache::entry_id::entry_id;
use crate::keys::tests::key_named;
use crate::vault::{AssociatedData, Ciphertext};

const DAY: Duration = Duration::from_secs(86_400);

fn ciphertext(number: usize) -> Ciphertext {
    Ciphertext::try_new(format!("vault:v1:{number}").into_bytes()).expect("a ciphertext")
}

fn id(key: &str, number: usize) -> EntryId {
    entry_id(&key_named(key), &ciphertext(number), None)
}

fn seed(number: usize) -> Plaintext {
    Plaintext::new(format!("{number:032}").into_bytes())
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(1_000_000 + seconds)
}

/// With one seed of each of these keys, decrypted at 0.
fn store_of(keys: &[&str]) -> Store {
    let mut store = Store::new().expect("a page");
    for key in keys {
        store.keep(
            &key_named(key),
            id(key, 1),
            &seed(1),
            Proof::Decrypted,
            at(0),
        );
    }
    store
}

#[test]
fn a_seed_is_answered_for_its_own_key_and_ciphertext_alone() {
    let store = store_of(&["kms"]);
    let opened = store.open(&id("kms", 1), DAY, at(1)).expect("an answer");
    assert_eq!(opened.expose_secret(), seed(1).expose_secret());
    for other in [id("kms", 2), id("other", 1)] {
        assert_eq!(store.open(&other, DAY, at(1)).err(), Some(Miss::Unknown));
    }
    let bound = AssociatedData::new(b"labels");
    let bound = entry_id(&key_named("kms"), &ciphertext(1), Some(&bound));
    assert_eq!(store.open(&bound, DAY, at(1)).err(), Some(Miss::Unknown));
}

#[test]
fn an_answer_ends_with_its_age_counted_from_the_last_success_of_that_key() {
    let mut store = store_of(&["kms", "other"]);
    let max_age = Duration::from_secs(10);
    assert!(store.open(&id("kms", 1), max_age, at(9)).is_ok());
    store.succeeded(&key_named("kms"), Proof::Encrypted, at(9));
    assert!(store.open(&id("kms", 1), max_age, at(18)).is_ok());
    let other = store.open(&id("other", 1), max_age, at(10));
    assert_eq!(other.err(), Some(Miss::TooOld));
    assert_eq!(store.expire(max_age, at(10)), 1);
    assert!(store.has(&id("kms", 1)) && !store.has(&id("other", 1)));
    assert_eq!(store.expire(max_age, at(19)), 1);
    assert_eq!(store.len(), 0);
}

#[test]
fn a_refusal_suspends_until_vault_decrypts_again() {
    let mut store = store_of(&["kms", "other"]);
    store.suspend(&key_named("kms"));
    let suspended = |store: &Store| store.open(&id("kms", 1), DAY, at(1)).err();
    assert_eq!(suspended(&store), Some(Miss::Suspended));
    assert!(store.open(&id("other", 1), DAY, at(1)).is_ok());
    // Encrypting may be allowed where decrypting is not any more.
    store.succeeded(&key_named("kms"), Proof::Encrypted, at(1));
    assert_eq!(suspended(&store), Some(Miss::Suspended));
    store.succeeded(&key_named("kms"), Proof::Decrypted, at(1));
    assert_eq!(suspended(&store), None);
    store.suspend_all();
    assert_eq!(suspended(&store), Some(Miss::Suspended));
    assert!(store.open(&id("other", 1), DAY, at(1)).is_err());
}

#[test]
fn wiping_forgets_everything_and_one_key_can_be_forgotten_alone() {
    let mut store = store_of(&["kms", "other"]);
    assert_eq!(store.forget(&key_named("kms")), 1);
    assert!(!store.has(&id("kms", 1)) && store.has(&id("other", 1)));
    assert_eq!(store.wipe(), 1);
    assert_eq!((store.len(), store.last_success()), (0, None));
    // And it goes on.
    store.keep(
        &key_named("kms"),
        id("kms", 1),
        &seed(1),
        Proof::Decrypted,
        at(2),
    );
    assert!(store.open(&id("kms", 1), DAY, at(3)).is_ok());
}

#[test]
fn the_oldest_goes_first_when_there_are_too_many() {
    let mut store = Store::new().expect("a page");
    let key = key_named("kms");
    for number in 0..MAX_ENTRIES {
        store.keep(
            &key,
            id("kms", number),
            &seed(number),
            Proof::Encrypted,
            at(0),
        );
    }
    // Confirmed once more, it is not the oldest any longer.
    store.keep(&key, id("kms", 0), &seed(0), Proof::Decrypted, at(1));
    store.keep(
        &key,
        id("kms", MAX_ENTRIES),
        &seed(0),
        Proof::Encrypted,
        at(1),
    );
    assert_eq!(store.len(), MAX_ENTRIES);
    assert!(store.has(&id("kms", 0)) && !store.has(&id("kms", 1)));
    assert_eq!(store.order.len(), store.entries.len());
}

#[test]
fn what_is_too_long_for_a_seed_is_not_kept() {
    let mut store = Store::new().expect("a page");
    let long = Plaintext::new(vec![0; MAX_SEED_BYTES + 1]);
    store.keep(
        &key_named("kms"),
        id("kms", 1),
        &long,
        Proof::Decrypted,
        at(0),
    );
    assert_eq!(store.len(), 0);
}
