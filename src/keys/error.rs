//! Why an Encrypt, a Decrypt or a Status has no answer. Texts say what to do and hold no secret.

use thiserror::Error;

use crate::session::LoginFault;
use crate::vault::{CallError, Refusal, TransitKey};

/// What kind of failure it is; the gRPC side makes a code of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Vault cannot serve now.
    Unavailable,
    /// The caller's time ran out.
    DeadlineExceeded,
    /// Vault limits how often it may be asked.
    Throttled,
    /// Vault refused: credentials or policy.
    Denied,
    /// The key is not in a state that allows it.
    Precondition,
    /// The caller sent what cannot be used.
    Invalid,
    /// Something answered what no Vault answers.
    Internal,
}

/// A failed operation on a key.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{text}")]
pub struct KeyError {
    /// The kind.
    pub kind: ErrorKind,
    /// What happened and what to do.
    pub text: String,
    /// What Vault meant, where it spoke.
    pub(super) refusal: Option<Refusal>,
}

impl KeyError {
    pub(super) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            refusal: None,
        }
    }

    /// A call that failed for good, or whose repeats ran out of time.
    pub(super) fn of_call(key: &TransitKey, error: &CallError) -> Self {
        let refusal = error.refusal();
        let (kind, mend) = match refusal {
            Some(Refusal::PolicyDenied | Refusal::TokenRefused) => (
                ErrorKind::Denied,
                format!(
                    "the policy of this token has to grant `update` on {} and {}, and `read` on {}; \
                     or correct transit.key, transit.mount, vault.namespace",
                    key.path("encrypt"),
                    key.path("decrypt"),
                    key.path("keys")
                ),
            ),
            Some(Refusal::KeyMissing) => (
                ErrorKind::Precondition,
                format!("there is no transit key {key}: create it, or correct transit.key"),
            ),
            Some(Refusal::NotMounted) => (
                ErrorKind::Precondition,
                format!(
                    "no transit engine is mounted at {}: enable it, or correct transit.mount and vault.namespace",
                    key.mount.as_str()
                ),
            ),
            Some(Refusal::VersionTooNew) => (
                ErrorKind::Unavailable,
                "this server does not know that key version (yet): a standby that lags, or a restored snapshot".to_owned(),
            ),
            Some(Refusal::VersionTooOld) => (
                ErrorKind::Precondition,
                "the key's minimum version passed it: lower min_decryption_version to read old data; writes follow by themselves".to_owned(),
            ),
            Some(Refusal::BadCiphertext) => (
                ErrorKind::Invalid,
                format!("it was not made by transit key {key}, or is damaged"),
            ),
            Some(Refusal::KeyUnable) => (
                ErrorKind::Precondition,
                format!("transit key {key} cannot do this: use one of type aes256-gcm96"),
            ),
            Some(Refusal::Throttled) => (
                ErrorKind::Throttled,
                format!(
                    "raise the rate limit quota that covers {}, or lift it for this mount",
                    key.mount.as_str()
                ),
            ),
            Some(Refusal::Other) => (ErrorKind::Invalid, String::new()),
            Some(Refusal::Passing) | None => (Self::passing_kind(error), String::new()),
        };
        let separator = if mend.is_empty() { "" } else { "; " };
        Self {
            kind,
            text: format!("vault: {error}{separator}{mend}"),
            refusal,
        }
    }

    /// The key itself can never serve, as a look at it shows.
    pub(super) fn unfit(key: &TransitKey, why: &str) -> Self {
        Self {
            kind: ErrorKind::Precondition,
            text: format!("transit key {key} cannot serve: {why}"),
            refusal: Some(Refusal::KeyUnable),
        }
    }

    /// Whether an operator has to act, if Vault says it twice: see the Status policy.
    pub(super) fn may_be_verdict(&self) -> bool {
        matches!(
            self.refusal,
            Some(
                Refusal::PolicyDenied
                    | Refusal::TokenRefused
                    | Refusal::KeyMissing
                    | Refusal::NotMounted
                    | Refusal::KeyUnable
                    | Refusal::BadCiphertext
            )
        )
    }

    fn passing_kind(error: &CallError) -> ErrorKind {
        match error {
            CallError::TimedOut { .. } => ErrorKind::DeadlineExceeded,
            CallError::Foreign {
                status: 200..=299, ..
            } => ErrorKind::Internal,
            _ => ErrorKind::Unavailable,
        }
    }
}

impl From<LoginFault> for KeyError {
    fn from(fault: LoginFault) -> Self {
        let kind = if fault.refused {
            ErrorKind::Denied
        } else {
            ErrorKind::Unavailable
        };
        Self::new(kind, fault.text)
    }
}
