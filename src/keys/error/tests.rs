//! Tests of `keys/error.rs`.

use super::*;
use crate::keys::tests::key;

fn refused(kind: ApiErrorKind) -> KeyError {
    let error = CallError::Api {
        path: "transit/encrypt/kms".to_owned(),
        status: 400,
        message: "words".to_owned(),
        kind,
        retry_after: None,
    };
    KeyError::of_call(&key(), &error)
}

#[test]
fn only_what_an_operator_has_to_remedy_can_become_a_verdict() {
    use ApiErrorKind::*;
    let table = [
        (PolicyDenied, ErrorKind::Denied, true),
        (TokenRefused, ErrorKind::Denied, true),
        (KeyMissing, ErrorKind::Precondition, true),
        (NotMounted, ErrorKind::Precondition, true),
        (NamespaceMissing, ErrorKind::Precondition, true),
        (KeyUnable, ErrorKind::Precondition, true),
        (BadCiphertext, ErrorKind::Invalid, true),
        (VersionTooNew, ErrorKind::Unavailable, false),
        (VersionTooOld, ErrorKind::Precondition, false),
        (Throttled, ErrorKind::Throttled, false),
        (Transient, ErrorKind::Unavailable, false),
        (Other, ErrorKind::Invalid, false),
    ];
    for (api, kind, verdict) in table {
        let error = refused(api);
        assert_eq!(
            (error.kind, error.may_be_verdict()),
            (kind, verdict),
            "{error}"
        );
    }
}

#[test]
fn no_answer_and_a_token_that_may_be_dead_say_nothing_of_the_key() {
    let timed_out = CallError::TimedOut {
        path: "transit/encrypt/kms".to_owned(),
        address: "http://127.0.0.1:8200".to_owned(),
    };
    assert!(!KeyError::of_call(&key(), &timed_out).may_be_verdict());
    let unverified = KeyError::of_unverified_token(&timed_out);
    assert!(!unverified.may_be_verdict() && unverified.is_transient());
}

#[test]
fn a_version_that_is_too_old_is_named_with_the_limit() {
    let version = KeyVersion::try_new(2).expect("version");
    let text = refused(ApiErrorKind::VersionTooOld)
        .too_old_to_decrypt(version, Some(5))
        .to_string();
    assert!(
        text.contains("of version 2,") && text.contains("min_decryption_version of 5;"),
        "{text}"
    );
    let written = refused(ApiErrorKind::VersionTooOld)
        .or_too_old_to_encrypt(Some(version))
        .to_string();
    assert!(written.contains("encrypts with version v2"), "{written}");
    let other = refused(ApiErrorKind::KeyMissing);
    assert_eq!(other.clone().or_too_old_to_encrypt(Some(version)), other);
}
