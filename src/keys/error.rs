//! Why an Encrypt, a Decrypt or a Status has no answer. Texts say what to do and hold no secret.

mod kind;
mod remedy;

use std::fmt;

use super::bound::{self, BOUND_BY};
use super::key_id::KeyId;
use super::local_kek;
use crate::batch;
use crate::diagnosis::write_joined;
use crate::reason::Reason;
use crate::session::LoginFault;
use crate::vault::{ApiErrorKind, AssociatedData, CallError, KeyVersion, TransitKey};
pub use kind::ErrorKind;

/// A failed operation on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyError {
    /// The kind.
    pub kind: ErrorKind,
    /// What happened.
    pub cause: String,
    /// What an operator can do about it, if anything.
    pub remedy: Option<String>,
    /// The API path of Vault that failed, where there was a call; the cause names it too.
    pub path: Option<String>,
    /// What Vault meant, if it was Vault that answered.
    pub(super) api_error: Option<ApiErrorKind>,
    /// Its code.
    pub reason: Reason,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_joined(f, &self.cause, self.remedy.as_deref())
    }
}

impl std::error::Error for KeyError {}

impl KeyError {
    pub(super) fn new(kind: ErrorKind, cause: impl Into<String>) -> Self {
        Self {
            kind,
            cause: cause.into(),
            remedy: None,
            path: None,
            api_error: None,
            reason: kind.reason(),
        }
    }

    /// The same with a code that says more than the kind does.
    pub(super) fn because(self, reason: Reason) -> Self {
        Self { reason, ..self }
    }

    /// Says more about what can be done.
    fn with_more(self, more: &str) -> Self {
        let remedy = match &self.remedy {
            Some(remedy) => format!("{remedy}: {more}"),
            None => more.to_owned(),
        };
        self.with_remedy(remedy)
    }

    fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..self
        }
    }

    /// A call of a batch, or to read the key.
    pub(super) fn of_batch(key: &TransitKey, error: batch::Error) -> Self {
        match error {
            batch::Error::Call(error) => Self::of_call(key, &error),
            batch::Error::TokenUnverified(error) => Self::of_unverified_token(&error),
            batch::Error::NoSession(fault) => fault.into(),
        }
    }

    /// A call that failed for good, or whose retries ran out of time.
    pub(crate) fn of_call(key: &TransitKey, error: &CallError) -> Self {
        let (kind, remedy) = match error.api_error() {
            Some(api) => remedy::of_api_error(key, api),
            None => (transient_kind(error), None),
        };
        let diagnosis = error.diagnosis().about("vault");
        Self {
            remedy: remedy.or(diagnosis.remedy),
            path: Some(error.path().to_owned()),
            api_error: error.api_error(),
            reason: match error.api_error() {
                // The token was found to be valid.
                Some(ApiErrorKind::TokenRefused) => Reason::PolicyDenied,
                _ => error.reason(),
            },
            ..Self::new(kind, diagnosis.cause)
        }
    }

    /// Another key, or another server, does not decrypt what was written until now.
    pub(super) fn of_earlier_data(self) -> Self {
        let cause = format!(
            "data encrypted until now can no longer be decrypted: {}",
            self.cause
        );
        Self { cause, ..self }.with_remedy("add the key that encrypted it to transit.decrypt_also")
    }

    /// The key no longer decrypts what it encrypted under `before`, although that version should
    /// exist; `found` is what Vault has now.
    pub(super) fn of_replaced_key(self, key: &TransitKey, before: &KeyId, found: &KeyId) -> Self {
        let reason = self.cause;
        let (cause, remedy) = if before == found {
            (
                format!(
                    "transit key {key} no longer decrypts what it encrypted: it was deleted and \
                     recreated within one second ({reason})"
                ),
                "restore the key from its backup; or, if what it encrypted may be lost, rotate it \
                 and accept the new key_id with transit.accept_replaced"
                    .to_owned(),
            )
        } else {
            (
                format!(
                    "transit key {key} was replaced: it no longer decrypts what it encrypted as \
                     {before}; Vault now has {found} ({reason})"
                ),
                format!(
                    "restore the key from its backup, or correct vault.address, vault.namespace, \
                     transit.mount or transit.key; only if everything encrypted with the old key may \
                     be lost, set transit.accept_replaced = \"{found}\" and reload"
                ),
            )
        };
        Self {
            kind: ErrorKind::Precondition,
            reason: Reason::KeyReplaced,
            cause,
            ..self
        }
        .with_remedy(remedy)
    }

    /// A Decrypt by every configured key, for a key_id that names another: a version that they have, or have
    /// not, says nothing.
    pub(super) fn by_no_configured_key(self, key_id: Option<&str>) -> Self {
        let is_refused = self.may_be_of_another_key();
        match key_id.filter(|key_id| is_refused && KeyId::is_ours(key_id)) {
            Some(key_id) => Self {
                kind: ErrorKind::Invalid,
                api_error: Some(ApiErrorKind::BadCiphertext),
                reason: Reason::CiphertextUnreadable,
                cause: format!(
                    "its key_id {key_id} names a key that is neither transit.key nor in \
                     transit.decrypt_also ({})",
                    self.cause
                ),
                remedy: Some("add that key to transit.decrypt_also".to_owned()),
                ..self
            },
            None => self,
        }
    }

    /// A value whose associated data cannot be rebuilt, so that nobody was asked to decrypt it. `keys`: those that
    /// might have.
    pub(crate) fn of_bound_value(keys: &str, cause: &str) -> Self {
        let cause = format!(
            "{BOUND_BY} wrote this, bound to its labels, and they cannot be rebuilt for {keys}: {cause}"
        );
        Self::new(ErrorKind::Invalid, cause)
            .because(Reason::CiphertextUnreadable)
            .with_remedy(
                "restore the object from a backup of etcd: its key_id and annotations are not those that it was \
                 encrypted with",
            )
    }

    /// A Decrypt with associated data that failed to authenticate: by the key, or by the labels.
    pub(super) fn or_other_data(self, key: &TransitKey, data: Option<&AssociatedData>) -> Self {
        let (Some(ApiErrorKind::BadCiphertext), Some(data)) = (self.api_error, data) else {
            return self;
        };
        if *data == local_kek::associated_data() {
            return self.with_remedy(format!(
                "its seed is sealed under a local KEK of this plugin, which was not wrapped by {key}, or is damaged: restore \
                 the object from a backup of etcd"
            ));
        }
        self.with_remedy(format!(
            "correct provider_name, cluster_id and instance_id of the entry of {key} in transit.decrypt_also: they \
             are bound into what {BOUND_BY} encrypted; or it was not made by that key, or is damaged"
        ))
    }

    /// The KEK of a value was unwrapped, and does not open its seed.
    pub(crate) fn of_sealed_seed() -> Self {
        Self {
            reason: Reason::CiphertextUnreadable,
            ..Self::new(
                ErrorKind::Invalid,
                format!(
                    "the annotation {} does not belong to the ciphertext beside it, or is damaged",
                    local_kek::ANNOTATION
                ),
            )
        }
        .with_remedy("restore the object from a backup of etcd")
    }

    /// A Decrypt, without associated data, of what needs it.
    pub(super) fn or_bound(self, key_id: Option<&str>) -> Self {
        if !self.may_be_of_another_key() || !bound::has_bound_key_id(key_id) {
            return self;
        }
        Self {
            kind: ErrorKind::Invalid,
            api_error: Some(ApiErrorKind::BadCiphertext),
            reason: Reason::CiphertextUnreadable,
            ..self
        }
        .with_remedy(format!(
            "{BOUND_BY} wrote it: add its key to transit.decrypt_also with associated_data = {BOUND_BY:?}"
        ))
    }

    /// The key itself can never serve, as reading it shows.
    pub(crate) fn unfit(key: &TransitKey, cause: &str, remedy: Option<&str>) -> Self {
        Self {
            remedy: remedy.map(str::to_owned),
            api_error: Some(ApiErrorKind::KeyUnable),
            ..Self::new(
                ErrorKind::Precondition,
                format!("transit key {key} cannot serve: {cause}"),
            )
        }
    }

    /// Vault rejected the token, and whether it is still valid was not known in time: this says
    /// nothing of the key.
    fn of_unverified_token(error: &CallError) -> Self {
        let cause =
            format!("vault: {error}; whether the token is still valid was not known in time");
        Self {
            path: Some(error.path().to_owned()),
            reason: Reason::TokenRejected,
            ..Self::new(ErrorKind::Unavailable, cause)
        }
    }

    /// An Encrypt that was rejected because its version is too old to encrypt with.
    pub(super) fn or_too_old_to_encrypt(self, version: Option<KeyVersion>) -> Self {
        match (self.api_error, version) {
            (Some(ApiErrorKind::VersionTooOld), Some(version)) => {
                let remedy = format!(
                    "it no longer encrypts with version {version}, which Status announced last; a \
                     newer one is announced once it is proven"
                );
                self.with_more(&remedy)
            }
            _ => self,
        }
    }

    /// A Decrypt that was rejected because its version is below the key's limit, as far as known.
    pub(super) fn too_old_to_decrypt(self, version: KeyVersion, limit: Option<u32>) -> Self {
        let version = version.get();
        let limit = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
        self.with_more(&format!(
            "the ciphertext is of version {version}, below the key's min_decryption_version{limit}; \
             set that to {version} or lower until nothing in etcd needs the version any more"
        ))
    }

    /// A canary that was encrypted and not decrypted. Vault 1.21 breaks the connection where
    /// OpenBao says that the private half is missing.
    pub(super) fn after_encrypt(self, key: &TransitKey, imported: bool) -> Self {
        if !imported || self.api_error.is_some() {
            return self;
        }
        let cause = format!(
            "transit key {key} was imported and encrypts, but decrypting gives no response ({})",
            self.cause
        );
        Self {
            kind: ErrorKind::Precondition,
            cause,
            ..self
        }
        .with_remedy("if it is a public key without its private half, import that too")
    }

    /// Whether it may pass with nothing changed by an operator.
    pub(super) fn is_transient(&self) -> bool {
        !self.is_replaced() && self.api_error.is_none_or(ApiErrorKind::is_transient)
    }

    /// Whether the server may merely lag behind another one.
    pub(super) fn is_lag(&self) -> bool {
        self.api_error == Some(ApiErrorKind::VersionTooNew)
    }

    /// Whether it may pass, also by a standby's catching up. What was found out to be the key's own
    /// state lasts, even if Vault did not say so.
    pub(super) fn may_pass(&self) -> bool {
        self.kind != ErrorKind::Precondition && (self.is_transient() || self.is_lag())
    }

    /// Whether, of a canary, it says that another key answered, or one that lost versions.
    pub(super) fn says_replaced(&self) -> bool {
        self.may_be_of_another_key()
    }

    /// Whether a Decrypt by another key than the right one fails like this.
    fn may_be_of_another_key(&self) -> bool {
        matches!(
            self.api_error,
            Some(
                ApiErrorKind::BadCiphertext
                    | ApiErrorKind::VersionTooNew
                    | ApiErrorKind::VersionTooOld
            )
        )
    }

    /// Whether it says that the key was replaced.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        self.reason == Reason::KeyReplaced
    }

    /// Whether it may be a revocation: the credentials are refused, or what the key is needed for. That a ciphertext
    /// was not made by the key is a remark about the ciphertext.
    pub(super) fn may_be_revocation(&self) -> bool {
        matches!(self.kind, ErrorKind::Denied | ErrorKind::Precondition)
            || (self.may_be_verdict() && self.api_error != Some(ApiErrorKind::BadCiphertext))
    }

    /// Whether an operator has to act, if Vault says it twice: see the Status policy.
    pub(super) fn may_be_verdict(&self) -> bool {
        self.is_replaced()
            || matches!(
                self.api_error,
                Some(
                    ApiErrorKind::PolicyDenied
                        | ApiErrorKind::TokenRefused
                        | ApiErrorKind::KeyMissing
                        | ApiErrorKind::NotMounted
                        | ApiErrorKind::NamespaceMissing
                        | ApiErrorKind::KeyUnable
                        | ApiErrorKind::BadCiphertext
                )
            )
    }
}

fn transient_kind(error: &CallError) -> ErrorKind {
    match error {
        CallError::TimedOut { .. } => ErrorKind::DeadlineExceeded,
        CallError::UnexpectedResponse {
            status: 200..=299, ..
        } => ErrorKind::Internal,
        _ => ErrorKind::Unavailable,
    }
}

impl From<LoginFault> for KeyError {
    fn from(fault: LoginFault) -> Self {
        let kind = if fault.rejected {
            ErrorKind::Denied
        } else {
            ErrorKind::Unavailable
        };
        Self {
            remedy: fault.remedy,
            reason: fault.reason,
            ..Self::new(kind, fault.cause)
        }
    }
}

#[cfg(test)]
mod tests;
