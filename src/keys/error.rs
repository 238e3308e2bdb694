//! Why an Encrypt, a Decrypt or a Status has no answer. Texts say what to do and hold no secret.

use std::fmt;

use super::key_id::KeyId;
use crate::diagnosis::{Diagnosis, write_joined};
use crate::session::LoginFault;
use crate::vault::{ApiErrorKind, CallError, KeyInfo, KeyVersion, TransitKey};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyError {
    /// The kind.
    pub kind: ErrorKind,
    /// What happened.
    pub cause: String,
    /// What an operator can do about it.
    pub remedy: Option<String>,
    /// The API path of Vault that failed, where there was a call; the text names it too.
    pub path: Option<String>,
    /// What Vault meant, where it spoke.
    pub(super) refusal: Option<ApiErrorKind>,
}

impl KeyError {
    pub(super) fn new(kind: ErrorKind, cause: impl Into<String>) -> Self {
        Self {
            kind,
            cause: cause.into(),
            remedy: None,
            path: None,
            refusal: None,
        }
    }

    /// A call that failed for good, or whose repeats ran out of time.
    pub(crate) fn of_call(key: &TransitKey, error: &CallError) -> Self {
        let refusal = error.api_error();
        let (kind, remedy) = match refusal {
            Some(ApiErrorKind::PolicyDenied | ApiErrorKind::TokenRefused) => (
                ErrorKind::Denied,
                format!(
                    "the policy of this token has to grant `update` on {} and {}, and `read` on {}; \
                     or correct transit.key, transit.mount, vault.namespace (a key that does not \
                     exist is answered in the same way)",
                    key.path("encrypt"),
                    key.path("decrypt"),
                    key.path("keys")
                ),
            ),
            Some(ApiErrorKind::KeyMissing) => (
                ErrorKind::Precondition,
                format!("there is no transit key {key}: create it, or correct transit.key"),
            ),
            Some(ApiErrorKind::NotMounted) => (
                ErrorKind::Precondition,
                format!(
                    "no transit engine is mounted at {}: enable it, or correct transit.mount and vault.namespace",
                    key.mount.as_str()
                ),
            ),
            Some(ApiErrorKind::VersionTooNew) => (
                ErrorKind::Unavailable,
                "this server does not know that key version (yet): a standby that lags, or a restored snapshot".to_owned(),
            ),
            Some(ApiErrorKind::VersionTooOld) => (
                ErrorKind::Precondition,
                format!("the minimum version of transit key {key} is above it"),
            ),
            Some(ApiErrorKind::BadCiphertext) => (
                ErrorKind::Invalid,
                format!("it was not made by transit key {key}, or is damaged"),
            ),
            Some(ApiErrorKind::KeyUnable) => (
                ErrorKind::Precondition,
                format!("transit key {key} cannot do this: use one of type aes256-gcm96"),
            ),
            Some(ApiErrorKind::Throttled) => (
                ErrorKind::Throttled,
                format!(
                    "raise the rate limit quota that covers {}, or lift it for this mount",
                    key.mount.as_str()
                ),
            ),
            Some(ApiErrorKind::Other) => (ErrorKind::Invalid, String::new()),
            Some(ApiErrorKind::Transient) | None => (Self::passing_kind(error), String::new()),
        };
        let mut diagnosis = error.diagnosis().about("vault");
        if !remedy.is_empty() {
            diagnosis = diagnosis.with_remedy(remedy);
        }
        let Diagnosis { cause, remedy } = diagnosis;
        Self {
            kind,
            cause,
            remedy,
            path: Some(error.path().to_owned()),
            refusal,
        }
    }

    /// Another key, or way to it, does not decrypt what the present one wrote.
    pub(super) fn of_what_was_written(self) -> Self {
        let text = format!(
            "what was written until now could not be read any more: put the key that wrote it \
             under transit.decrypt_also ({})",
            self
        );
        Self {
            cause: text,
            remedy: None,
            ..self
        }
    }

    /// A canary is not decrypted by the version that made it.
    pub(super) fn of_canary(self, key: &TransitKey) -> Self {
        if self.refusal != Some(ApiErrorKind::BadCiphertext) {
            return self;
        }
        Self {
            kind: ErrorKind::Precondition,
            remedy: None,
            cause: format!(
                "transit key {key} no longer decrypts what it encrypted: it was recreated within \
                 the second of its creation; restore it from its backup, or rotate it so that what \
                 is written from now on has a key_id of its own ({})",
                self
            ),
            ..self
        }
    }

    /// A Decrypt by every key there is, for a key_id that names another.
    pub(super) fn by_none_of_ours(self, key_id: Option<&str>) -> Self {
        match (self.refusal, key_id) {
            (Some(ApiErrorKind::BadCiphertext), Some(key_id)) if KeyId::is_ours(key_id) => Self {
                remedy: None,
                cause: format!(
                    "{}; its key_id {key_id} names a key that is neither transit.key nor under \
                     transit.decrypt_also",
                    self
                ),
                ..self
            },
            _ => self,
        }
    }

    /// The key itself can never serve, as a look at it shows.
    pub(crate) fn unfit(key: &TransitKey, cause: &str, remedy: Option<&str>) -> Self {
        Self {
            kind: ErrorKind::Precondition,
            cause: format!("transit key {key} cannot serve: {cause}"),
            remedy: remedy.map(str::to_owned),
            path: None,
            refusal: Some(ApiErrorKind::KeyUnable),
        }
    }

    /// Vault refused the token, and nobody could tell in time whether it lives: no word on the key.
    pub(super) fn of_doubtful_token(error: &CallError) -> Self {
        let text = format!("vault: {error}; whether the token is alive could not be told in time");
        Self {
            path: Some(error.path().to_owned()),
            ..Self::new(ErrorKind::Unavailable, text)
        }
    }

    /// An Encrypt that was refused because its version is too old to write with.
    pub(super) fn or_too_old_to_write(self, version: Option<KeyVersion>) -> Self {
        match (self.refusal, version) {
            (Some(ApiErrorKind::VersionTooOld), Some(version)) => Self {
                remedy: None,
                cause: format!(
                    "{}: it no longer encrypts with version {version}, which Status announced \
                     last; a newer one is announced once it is proven",
                    self
                ),
                ..self
            },
            _ => self,
        }
    }

    /// A Decrypt that was refused because its version is below the key's limit, as far as known.
    pub(super) fn too_old_to_read(self, version: KeyVersion, limit: Option<u32>) -> Self {
        let version = version.get();
        let limit = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
        Self {
            remedy: None,
            cause: format!(
                "{}: the ciphertext is of version {version}, below the key's \
                 min_decryption_version{limit}; set that to {version} or lower until nothing in \
                 etcd needs the version any more",
                self
            ),
            ..self
        }
    }

    /// A canary that was encrypted and not decrypted. Vault 1.21 breaks the connection where
    /// OpenBao says that the private half is missing.
    pub(super) fn after_encrypt(self, key: &TransitKey, info: &KeyInfo) -> Self {
        if !info.imported || self.refusal.is_some() {
            return self;
        }
        Self {
            kind: ErrorKind::Precondition,
            remedy: None,
            cause: format!(
                "transit key {key} was imported and encrypts, but decrypting brings no answer: \
                 if it is a public key without its private half, import that too ({})",
                self
            ),
            ..self
        }
    }

    /// Whether it may pass with nothing changed by an operator.
    pub(super) fn is_transient(&self) -> bool {
        self.refusal.is_none_or(ApiErrorKind::is_transient)
    }

    /// Whether an operator has to act, if Vault says it twice: see the Status policy.
    pub(super) fn may_be_verdict(&self) -> bool {
        matches!(
            self.refusal,
            Some(
                ApiErrorKind::PolicyDenied
                    | ApiErrorKind::TokenRefused
                    | ApiErrorKind::KeyMissing
                    | ApiErrorKind::NotMounted
                    | ApiErrorKind::KeyUnable
                    | ApiErrorKind::BadCiphertext
            )
        )
    }

    fn passing_kind(error: &CallError) -> ErrorKind {
        match error {
            CallError::TimedOut { .. } => ErrorKind::DeadlineExceeded,
            CallError::UnexpectedResponse {
                status: 200..=299, ..
            } => ErrorKind::Internal,
            _ => ErrorKind::Unavailable,
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_joined(f, &self.cause, self.remedy.as_deref())
    }
}

impl std::error::Error for KeyError {}

impl From<LoginFault> for KeyError {
    fn from(fault: LoginFault) -> Self {
        let kind = if fault.rejected {
            ErrorKind::Denied
        } else {
            ErrorKind::Unavailable
        };
        Self {
            remedy: fault.remedy,
            ..Self::new(kind, fault.cause)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{KeyName, MountPath, Namespace};

    fn key() -> TransitKey {
        TransitKey {
            namespace: Namespace::default(),
            mount: MountPath::try_new("transit").expect("mount"),
            name: KeyName::try_new("kms").expect("name"),
        }
    }

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
        let doubtful = KeyError::of_doubtful_token(&timed_out);
        assert!(!doubtful.may_be_verdict() && doubtful.is_transient());
    }

    #[test]
    fn a_version_that_is_too_old_is_named_with_the_limit() {
        let version = KeyVersion::try_new(2).expect("version");
        let text = refused(ApiErrorKind::VersionTooOld)
            .too_old_to_read(version, Some(5))
            .to_string();
        assert!(
            text.contains("of version 2,") && text.contains("min_decryption_version of 5;"),
            "{text}"
        );
        let written = refused(ApiErrorKind::VersionTooOld)
            .or_too_old_to_write(Some(version))
            .to_string();
        assert!(written.contains("encrypts with version v2"), "{written}");
        let other = refused(ApiErrorKind::KeyMissing);
        assert_eq!(other.clone().or_too_old_to_write(Some(version)), other);
    }
}
