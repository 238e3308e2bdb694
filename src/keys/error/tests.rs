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

/// Every meaning that an answer of Vault can have.
const ALL: [ApiErrorKind; 14] = [
    ApiErrorKind::PolicyDenied,
    ApiErrorKind::TokenRefused,
    ApiErrorKind::KeyMissing,
    ApiErrorKind::NotMounted,
    ApiErrorKind::NamespaceMissing,
    ApiErrorKind::KeyUnable,
    ApiErrorKind::BadCiphertext,
    ApiErrorKind::VersionTooNew,
    ApiErrorKind::VersionTooOld,
    ApiErrorKind::Throttled,
    ApiErrorKind::Transient,
    ApiErrorKind::WrongCredentials,
    ApiErrorKind::LoginIncomplete,
    ApiErrorKind::Other,
];

/// Whether it says that the key did not make the ciphertext, or that the version is unknown.
fn is_of_another_key(api: ApiErrorKind) -> bool {
    use ApiErrorKind::{BadCiphertext, VersionTooNew, VersionTooOld};
    matches!(api, BadCiphertext | VersionTooNew | VersionTooOld)
}

#[test]
fn a_revocation_is_what_denies_the_key_and_not_what_a_ciphertext_is_like() {
    for api in ALL {
        let error = refused(api);
        let is_denied = matches!(error.kind, ErrorKind::Denied | ErrorKind::Precondition);
        assert_eq!(error.may_be_revocation(), is_denied, "{error}");
        assert_eq!(error.says_replaced(), is_of_another_key(api), "{error}");
    }
    let login = KeyError::new(ErrorKind::Denied, "the login was refused");
    assert!(login.may_be_revocation() && !login.says_replaced());
    let away = KeyError::new(ErrorKind::Unavailable, "vault is away");
    assert!(!away.may_be_revocation() && !away.says_replaced());
    let (before, found) = (proven(1, 1), proven(2, 1));
    let error = refused(ApiErrorKind::BadCiphertext);
    let replaced = error.of_replaced_key(&key(), &before.key_id, &found.key_id);
    assert!(replaced.may_be_revocation());
}

#[test]
fn a_decrypt_for_a_key_that_is_not_configured_says_which_one_to_add() {
    let ours = "transit1::transit:old:v1:1";
    for api in ALL {
        let error = refused(api);
        for foreign in [None, Some("another.plugin")] {
            assert_eq!(error.clone().by_no_configured_key(foreign), error);
        }
        let named = error.clone().by_no_configured_key(Some(ours));
        if !is_of_another_key(api) {
            assert_eq!(named, error);
            continue;
        }
        assert_eq!(named.kind, ErrorKind::Invalid, "{named}");
        assert_eq!(
            named.api_error,
            Some(ApiErrorKind::BadCiphertext),
            "{named}"
        );
        assert_eq!(named.reason, Reason::CiphertextUnreadable, "{named}");
        assert!(
            named.to_string().contains(ours) && !named.may_pass(),
            "{named}"
        );
    }
}

#[test]
fn a_decrypt_of_what_another_plugin_bound_says_how_to_read_it() {
    for api in ALL {
        let error = refused(api);
        for unbound in [None, Some("transit1::transit:kms:v1:1")] {
            assert_eq!(error.clone().or_bound(unbound), error);
        }
        let bound = error.clone().or_bound(Some("obk2.x"));
        if !is_of_another_key(api) {
            assert_eq!(bound, error);
            continue;
        }
        assert_eq!(bound.kind, ErrorKind::Invalid, "{bound}");
        assert_eq!(
            bound.api_error,
            Some(ApiErrorKind::BadCiphertext),
            "{bound}"
        );
        assert_eq!(bound.reason, Reason::CiphertextUnreadable, "{bound}");
        assert!(
            bound.to_string().contains("transit.decrypt_also"),
            "{bound}"
        );
    }
}

#[test]
fn associated_data_that_does_not_authenticate_is_that_of_a_local_kek_or_of_labels() {
    let labels = AssociatedData::new(b"labels");
    for api in ALL {
        let error = refused(api);
        assert_eq!(error.clone().or_other_data(&key(), None), error);
        for (data, text) in [
            (local_kek::associated_data(), "local KEK"),
            (labels.clone(), "cluster_id"),
        ] {
            let made = error.clone().or_other_data(&key(), Some(&data));
            if api == ApiErrorKind::BadCiphertext {
                assert!(made.to_string().contains(text), "{made}");
            } else {
                assert_eq!(made, error);
            }
        }
    }
}

#[test]
fn only_an_imported_key_that_gives_no_response_is_taken_for_one_without_its_private_half() {
    let broken = KeyError::new(ErrorKind::Unavailable, "the connection broke");
    assert_eq!(broken.clone().after_encrypt(&key(), false), broken);
    let made = broken.after_encrypt(&key(), true);
    assert_eq!(made.kind, ErrorKind::Precondition);
    assert!(
        made.to_string().contains("was imported") && !made.may_pass(),
        "{made}"
    );
    for api in ALL {
        let error = refused(api);
        assert_eq!(error.clone().after_encrypt(&key(), true), error);
    }
}

#[test]
fn a_key_that_can_never_serve_is_a_verdict_and_earlier_data_needs_its_key() {
    let unfit = KeyError::unfit(&key(), "it is for signatures", Some("use another one"));
    assert!(unfit.may_be_verdict() && !unfit.may_pass(), "{unfit}");
    assert!(
        unfit
            .to_string()
            .contains("transit/kms cannot serve: it is for signatures"),
        "{unfit}"
    );
    let earlier = refused(ApiErrorKind::BadCiphertext).of_earlier_data();
    let text = earlier.to_string();
    assert!(
        text.starts_with("data encrypted until now can no longer be decrypted"),
        "{text}"
    );
    assert!(text.contains("transit.decrypt_also"), "{text}");
}
