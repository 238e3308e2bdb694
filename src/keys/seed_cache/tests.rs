//! The cache as the KeyManager uses it: on and off, what it answers, and how long Vault has before.

use super::super::error::ErrorKind;
use super::*;
use crate::keys::tests::{key, key_named, proven};

const SETTINGS: SeedCacheSettings = SeedCacheSettings {
    max_age: Duration::from_secs(3600),
    local_kek: true,
};

fn cache(settings: Option<SeedCacheSettings>) -> SeedCache {
    SeedCache::new(settings, Metrics::default()).expect("a locked page")
}

fn ciphertext() -> Ciphertext {
    Ciphertext::try_new(b"vault:v1:AAAA".to_vec()).expect("a ciphertext")
}

fn seed() -> Plaintext {
    Plaintext::new(vec![7; 32])
}

fn away() -> KeyError {
    KeyError::new(ErrorKind::Unavailable, "vault is away")
}

/// One that holds a seed of this key.
fn with_a_seed() -> SeedCache {
    let cache = cache(Some(SETTINGS));
    cache.keep(&key(), &ciphertext(), None, &seed(), Proof::Decrypted);
    cache
}

/// Whether it answers for the seed now.
fn answers(cache: &SeedCache) -> bool {
    let remembered = cache.remembered(&key(), &ciphertext(), None);
    remembered.is_some_and(|it| cache.answer(&it, &away()).is_some())
}

#[test]
fn a_cache_that_is_off_keeps_nothing_and_says_nothing() {
    let off = cache(None);
    off.keep(&key(), &ciphertext(), None, &seed(), Proof::Decrypted);
    assert!(!off.is_on() && off.report().is_none());
    assert!(off.remembered(&key(), &ciphertext(), None).is_none());
    assert!(!off.needs_kek(&proven(100, 1)) && !off.has_kek(&proven(100, 1)));
    assert!(!off.is_serving());
}

#[test]
fn it_is_switched_on_and_changed_with_what_it_holds_and_switched_off_without() {
    let cache = with_a_seed();
    assert!(cache.is_on());
    let report = cache.report().expect("it is on");
    assert_eq!(
        (report.entries, report.serving, report.max_age),
        (1, false, SETTINGS.max_age)
    );
    assert_eq!(report.local_kek, Some(false));
    assert!(
        report.age.is_some_and(|age| age < Duration::from_secs(60)),
        "{report:?}"
    );
    let other = SeedCacheSettings {
        max_age: Duration::from_secs(60),
        local_kek: false,
    };
    cache.set(Some(other)).expect("changed");
    let report = cache.report().expect("it is on");
    assert_eq!(
        (report.entries, report.max_age, report.local_kek),
        (1, other.max_age, None)
    );
    cache.set(None).expect("switched off");
    assert!(!cache.is_on() && cache.report().is_none());
    cache.set(Some(SETTINGS)).expect("switched on");
    assert_eq!(cache.report().map(|it| it.entries), Some(0));
    let closed = with_a_seed();
    closed.close("a test");
    assert!(!closed.is_on() && !answers(&closed));
}

#[test]
fn it_answers_what_it_was_given_until_vault_refuses_the_key() {
    let cache = with_a_seed();
    let remembered = cache
        .remembered(&key(), &ciphertext(), None)
        .expect("an entry");
    let answer = cache.answer(&remembered, &away()).expect("a seed");
    assert_eq!(answer.expose_secret(), seed().expose_secret());
    assert!(cache.is_serving());
    assert!(
        cache
            .remembered(&key_named("other"), &ciphertext(), None)
            .is_none()
    );
    let bound = AssociatedData::new(b"labels");
    assert!(
        cache
            .remembered(&key(), &ciphertext(), Some(&bound))
            .is_none()
    );
    cache.proved(&key());
    assert!(!cache.is_serving() && answers(&cache));
    let refuse: [fn(&SeedCache); 2] = [|cache| cache.suspend(&key()), SeedCache::suspend_all];
    for refused in refuse {
        refused(&cache);
        assert!(!answers(&cache));
        // An Encrypt shows nothing; the proof of the refresh decrypts.
        let other = Ciphertext::try_new(b"vault:v1:BBBB".to_vec()).expect("a ciphertext");
        cache.keep(&key(), &other, None, &seed(), Proof::Encrypted);
        assert!(!answers(&cache));
        cache.proved(&key());
        assert!(answers(&cache));
    }
    cache.suspend(&key_named("other"));
    assert!(answers(&cache), "of another key");
    cache.forget(&key_named("other"));
    assert!(answers(&cache), "of another key");
    cache.forget(&key());
    assert!(cache.remembered(&key(), &ciphertext(), None).is_none());
    let wiped = with_a_seed();
    wiped.wipe("a test");
    assert!(wiped.is_on() && !answers(&wiped));
}

#[test]
fn what_is_too_old_is_forgotten() {
    let short = SeedCacheSettings {
        max_age: Duration::ZERO,
        ..SETTINGS
    };
    for ask in [true, false] {
        let cache = with_a_seed();
        cache.set(Some(short)).expect("changed");
        if ask {
            assert!(!answers(&cache));
        } else {
            cache.expire();
        }
        assert_eq!(cache.report().map(|it| it.entries), Some(0), "{ask}");
    }
}

#[test]
fn vault_has_a_part_of_the_callers_time_and_less_once_it_is_away() {
    let cache = with_a_seed();
    let now = Instant::now();
    let in_millis = |millis| now + Duration::from_millis(millis);
    for (left, to_decrypt, to_encrypt) in [
        (300, 100, 150),
        (3_000, 1_000, 1_500),
        (30_000, 1_000, 15_000),
        (0, 0, 0),
    ] {
        let deadline = in_millis(left);
        assert_eq!(
            cache.vaults_deadline(now, deadline),
            in_millis(to_decrypt),
            "{left}"
        );
        assert_eq!(
            cache.vaults_deadline_to_encrypt(now, deadline),
            in_millis(to_encrypt),
            "{left}"
        );
    }
    assert!(answers(&cache));
    for (left, either) in [(150, 50), (3_000, 100)] {
        let deadline = in_millis(left);
        assert_eq!(
            cache.vaults_deadline(now, deadline),
            in_millis(either),
            "{left}"
        );
        assert_eq!(
            cache.vaults_deadline_to_encrypt(now, deadline),
            in_millis(either),
            "{left}"
        );
    }
}

#[test]
fn a_kek_seals_for_the_version_that_wrapped_it() {
    let cache = cache(Some(SETTINGS));
    assert!(cache.needs_kek(&proven(100, 1)) && !cache.has_kek(&proven(100, 1)));
    assert!(cache.seal(&proven(100, 1), &seed(), &away()).is_none());
    cache.keep_kek(
        &key(),
        proven(100, 1),
        ciphertext(),
        &Plaintext::new(vec![3; 32]),
    );
    assert!(!cache.needs_kek(&proven(100, 1)) && cache.has_kek(&proven(100, 1)));
    assert!(!cache.has_kek(&proven(200, 2)));
    assert_eq!(cache.report().and_then(|it| it.local_kek), Some(true));
    assert!(cache.seal(&proven(100, 1), &seed(), &away()).is_some());
    assert!(cache.is_serving());
}
