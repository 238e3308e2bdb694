//! The classes of failed logins: each decides what follows.

use super::*;
use crate::vault::Progress;

fn api(kind: ApiErrorKind, message: &str) -> CallError {
    CallError::Api {
        path: "auth/approle/login".to_owned(),
        status: 400,
        message: message.to_owned(),
        kind,
        retry_after: Some(Duration::from_secs(3)),
    }
}

fn unreachable() -> CallError {
    CallError::Unreachable {
        path: "auth/approle/login".to_owned(),
        address: "http://127.0.0.1:8200".to_owned(),
        cause: Diagnosis::new("refused"),
        progress: Progress::NotConnected,
    }
}

#[test]
fn an_answer_of_vault_has_a_class_a_reason_and_advice_where_an_operator_can_follow_it() {
    use LoginErrorClass::{
        Denied, Incomplete, Refused, RejectedCredentials, Transient, VaultUnavailable,
    };
    let later = Transient(Some(Duration::from_secs(3)));
    let advice = Some("advice");
    let namespace = Some("auth.namespace");
    let table = [
        (
            "approle",
            unreachable(),
            VaultUnavailable,
            Reason::VaultUnreachable,
            None,
        ),
        (
            "approle",
            api(ApiErrorKind::Transient, "internal"),
            later,
            Reason::VaultError,
            None,
        ),
        (
            "approle",
            api(ApiErrorKind::Throttled, "quota"),
            later,
            Reason::VaultThrottled,
            None,
        ),
        (
            "approle",
            api(ApiErrorKind::TokenRefused, "denied"),
            Denied,
            Reason::LoginDenied,
            advice,
        ),
        (
            "token",
            api(ApiErrorKind::TokenRefused, "denied"),
            Denied,
            Reason::TokenRejected,
            advice,
        ),
        (
            "approle",
            api(ApiErrorKind::WrongCredentials, "no"),
            RejectedCredentials,
            Reason::CredentialsRejected,
            advice,
        ),
        (
            "approle",
            api(ApiErrorKind::LoginIncomplete, "MFA"),
            Incomplete,
            Reason::LoginIncomplete,
            Some("MFA"),
        ),
        (
            "approle",
            api(ApiErrorKind::NamespaceMissing, "no"),
            Refused,
            Reason::NamespaceMissing,
            namespace,
        ),
        (
            "approle",
            api(ApiErrorKind::Other, "no role"),
            Refused,
            Reason::LoginRefused,
            advice,
        ),
        (
            "approle",
            api(ApiErrorKind::Other, "source address"),
            Refused,
            Reason::LoginRefused,
            Some("token_bound_cidrs"),
        ),
    ];
    for (method, error, class, reason, remedy) in table {
        let made = LoginError::failed(method, &error, "advice");
        assert_eq!((made.class(), made.reason()), (class, reason), "{made}");
        match remedy {
            Some(remedy) => assert!(
                made.remedy().is_some_and(|it| it.contains(remedy)),
                "{made}"
            ),
            None => assert_eq!(made.remedy(), None, "{made}"),
        }
        let begin = format!("login by {method} failed: auth/approle/login");
        assert!(
            made.cause().starts_with(&begin) && made.to_string().starts_with(&begin),
            "{made}"
        );
    }
}

#[test]
fn a_class_decides_what_the_machine_does_and_whether_an_operator_has_to_act() {
    use LoginErrorClass::*;
    let second = Duration::from_secs(1);
    let table = [
        (
            VaultUnavailable,
            Failure::Unreachable,
            Failure::Unreachable,
            false,
        ),
        (
            Transient(Some(second)),
            Failure::Transient(Some(second)),
            Failure::Transient(Some(second)),
            false,
        ),
        (
            Spiffe { is_transient: true },
            Failure::Transient(None),
            Failure::Transient(None),
            false,
        ),
        (
            Spiffe {
                is_transient: false,
            },
            Failure::Rejected,
            Failure::Rejected,
            true,
        ),
        (
            UnusableCredential,
            Failure::Rejected,
            Failure::Rejected,
            true,
        ),
        (
            UseLimitedToken,
            Failure::RejectedAndCounted,
            Failure::RejectedAndCounted,
            true,
        ),
        (
            UntrustedWrapping,
            Failure::Rejected,
            Failure::RejectedAndCounted,
            true,
        ),
        (Denied, Failure::Rejected, Failure::Rejected, true),
        (
            RejectedCredentials,
            Failure::Rejected,
            Failure::RejectedAndCounted,
            true,
        ),
        (
            Incomplete,
            Failure::RejectedAndCounted,
            Failure::RejectedAndCounted,
            true,
        ),
        (Refused, Failure::Rejected, Failure::Rejected, true),
    ];
    for (class, without_lockout, with_lockout, needs_operator) in table {
        let error = LoginError::new(class, Diagnosis::new("no"));
        assert_eq!(error.failure(false), without_lockout, "{class:?}");
        assert_eq!(error.failure(true), with_lockout, "{class:?}");
        assert_eq!(class.needs_operator(), needs_operator, "{class:?}");
        let can_only_be_replaced = matches!(class, RejectedCredentials | UntrustedWrapping);
        assert_eq!(
            class.is_rejected_credential(),
            can_only_be_replaced,
            "{class:?}"
        );
    }
}

#[test]
fn an_unavailable_vault_and_a_credential_in_use_keep_their_reasons() {
    let unavailable = Unavailable {
        reason: Reason::VaultSealed,
        diagnosis: Diagnosis::new("sealed"),
    };
    let error = LoginError::unavailable(unavailable);
    assert_eq!(
        (error.class(), error.reason()),
        (LoginErrorClass::VaultUnavailable, Reason::VaultSealed)
    );
    let error = LoginError::busy(Diagnosis::new("busy"));
    assert_eq!(
        (error.class(), error.reason()),
        (LoginErrorClass::Transient(None), Reason::CredentialInUse)
    );
}
