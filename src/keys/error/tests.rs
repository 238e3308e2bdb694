//! Tests of `keys/error.rs`.

use super::*;
use crate::diagnosis::Diagnosis;
use crate::keys::tests::{key, proven};

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

#[test]
fn an_error_of_vault_keeps_its_path_its_remedy_and_its_reason() {
    let denied = refused(ApiErrorKind::PolicyDenied);
    assert_eq!(denied.path.as_deref(), Some("transit/encrypt/kms"));
    assert_eq!(denied.reason, Reason::PolicyDenied);
    let remedy = denied.remedy.as_deref().expect("a remedy");
    assert!(remedy.contains("transit/decrypt/kms"), "{remedy}");
    // The token itself was found to be valid.
    let refused_token = refused(ApiErrorKind::TokenRefused);
    assert_eq!(refused_token.reason, Reason::PolicyDenied);
    assert_eq!(refused(ApiErrorKind::KeyMissing).reason, Reason::KeyMissing);
}

#[test]
fn a_call_without_an_answer_of_vault_has_a_kind_of_its_own() {
    let (path, address) = ("transit/decrypt/kms", "http://127.0.0.1:8200");
    let unexpected = |status| CallError::UnexpectedResponse {
        path: path.to_owned(),
        address: address.to_owned(),
        status,
        cause: Diagnosis::new("no JSON").with_remedy("correct vault.address"),
        retry_after: None,
    };
    let timed_out = CallError::TimedOut {
        path: path.to_owned(),
        address: address.to_owned(),
    };
    let table = [
        (
            timed_out,
            ErrorKind::DeadlineExceeded,
            Reason::VaultTimeout,
            None,
        ),
        (
            unexpected(200),
            ErrorKind::Internal,
            Reason::VaultUnexpectedResponse,
            Some("correct vault.address"),
        ),
        (
            unexpected(502),
            ErrorKind::Unavailable,
            Reason::VaultUnexpectedResponse,
            Some("correct vault.address"),
        ),
    ];
    for (error, kind, reason, remedy) in table {
        let made = KeyError::of_call(&key(), &error);
        assert_eq!((made.kind, made.reason), (kind, reason), "{made}");
        assert_eq!(made.remedy.as_deref(), remedy, "{made}");
        assert_eq!(made.path.as_deref(), Some(path), "{made}");
        let unverified = KeyError::of_unverified_token(&error);
        assert_eq!(unverified.path.as_deref(), Some(path), "{unverified}");
        assert_eq!(unverified.reason, Reason::TokenRejected, "{unverified}");
        assert_eq!(unverified.kind, ErrorKind::Unavailable, "{unverified}");
    }
}

#[test]
fn a_failed_login_is_denied_only_if_the_credentials_were_rejected() {
    for (rejected, kind) in [(true, ErrorKind::Denied), (false, ErrorKind::Unavailable)] {
        let fault = LoginFault {
            reason: Reason::CredentialsRejected,
            cause: "no".to_owned(),
            remedy: Some("write another one".to_owned()),
            rejected,
        };
        let error = KeyError::from(fault);
        assert_eq!(
            (error.kind, error.reason),
            (kind, Reason::CredentialsRejected)
        );
        assert_eq!(error.to_string(), "no; write another one");
    }
}

#[test]
fn a_replaced_key_stops_writes_whatever_showed_it() {
    let (before, found) = (proven(1, 1), proven(2, 1));
    for api in [
        ApiErrorKind::BadCiphertext,
        ApiErrorKind::VersionTooNew,
        ApiErrorKind::VersionTooOld,
    ] {
        let error = refused(api).of_replaced_key(&key(), &before.key_id, &found.key_id);
        assert_eq!(error.kind, ErrorKind::Precondition, "{error}");
        assert!(error.is_replaced() && error.may_be_verdict() && !error.is_transient());
        let remedy = error.remedy.as_deref().unwrap_or_default();
        assert!(remedy.contains(found.key_id.as_str()), "{remedy}");
    }
}
