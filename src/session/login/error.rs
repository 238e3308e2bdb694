//! Why a login failed: one class that decides everything, and the cause and remedy for an operator.

use std::fmt;
use std::time::Duration;

use super::spiffe::FetchError;
use crate::diagnosis::Diagnosis;
use crate::reason::Reason;
use crate::session::machine::Failure;
use crate::telemetry::metrics::LoginFailure;
use crate::vault::{ApiErrorKind, CallError, Unavailable};

/// Why a login failed.
#[derive(Debug)]
pub(in crate::session) struct LoginError {
    class: LoginErrorClass,
    reason: Reason,
    diagnosis: Diagnosis,
}

/// What a failed login means for all that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum LoginErrorClass {
    /// Vault cannot serve logins now; only its health is checked until it can.
    VaultUnavailable,
    /// Vault or a proxy says: later.
    Transient(Option<Duration>),
    /// A file of our own, or the token in it, cannot be used.
    UnusableCredential,
    /// A token with a use limit, of which each check costs a use.
    UseLimitedToken,
    /// The SPIFFE agent gave no JWT.
    Spiffe {
        /// Whether it may give one later with nothing changed.
        is_transient: bool,
    },
    /// A wrapping token that is spent, or that wraps something else.
    UntrustedWrapping,
    /// Vault denied the path: no auth method is mounted there, or the role is locked out. Further
    /// attempts make neither of them worse.
    Denied,
    /// Vault rejected the credentials, and may have counted that.
    RejectedCredentials,
    /// Vault completes the login only with a second factor or an approval, and each attempt costs a
    /// use of its credentials.
    Incomplete,
    /// Vault refused the login for another reason, which it does not count: a namespace or a role
    /// that does not exist yet, an address that is not allowed.
    Refused,
}

impl LoginError {
    /// Vault cannot serve logins now.
    pub(super) fn unavailable(Unavailable { reason, diagnosis }: Unavailable) -> Self {
        Self {
            reason,
            ..Self::new(LoginErrorClass::VaultUnavailable, diagnosis)
        }
    }

    /// Another process is at work with the credential.
    pub(super) fn busy(diagnosis: Diagnosis) -> Self {
        Self {
            reason: Reason::CredentialInUse,
            ..Self::new(LoginErrorClass::Transient(None), diagnosis)
        }
    }

    /// A credential of our own cannot be used.
    pub(super) fn credential(diagnosis: Diagnosis) -> Self {
        Self::new(LoginErrorClass::UnusableCredential, diagnosis)
    }

    /// A wrapping token that was used already, or was made for something else.
    pub(super) fn untrusted_wrapping(diagnosis: Diagnosis) -> Self {
        Self::new(LoginErrorClass::UntrustedWrapping, diagnosis)
    }

    /// The token expires within a second.
    pub(super) fn expiring() -> Self {
        let cause = Diagnosis::new("the token expires in less than a second");
        Self::credential(cause.with_remedy("put a fresh one in its place"))
    }

    /// The token is limited to so many uses, which a daemon would exhaust.
    pub(super) fn use_limited(num_uses: u64, owns_token: bool) -> Self {
        let cause = format!("the token has a use limit (num_uses={num_uses})");
        let class = if owns_token {
            LoginErrorClass::UnusableCredential
        } else {
            LoginErrorClass::UseLimitedToken
        };
        let diagnosis = Diagnosis::new(cause).with_remedy("create one without it");
        Self::new(class, diagnosis)
    }

    /// Vault answered the login with an error. The advice is given only where an operator can
    /// follow it.
    pub(super) fn failed(method: &'static str, error: &CallError, advice: &str) -> Self {
        let class = match error {
            CallError::Unreachable { .. } => LoginErrorClass::VaultUnavailable,
            error if error.is_transient() => LoginErrorClass::Transient(error.retry_after()),
            error => match error.api_error() {
                // Vault answers wrong credentials with 400.
                Some(ApiErrorKind::TokenRefused) => LoginErrorClass::Denied,
                Some(ApiErrorKind::WrongCredentials) => LoginErrorClass::RejectedCredentials,
                Some(ApiErrorKind::LoginIncomplete) => LoginErrorClass::Incomplete,
                _ => LoginErrorClass::Refused,
            },
        };
        let mut diagnosis = error
            .diagnosis()
            .about(format_args!("login by {method} failed"));
        if error.api_error() == Some(ApiErrorKind::NamespaceMissing) {
            diagnosis = diagnosis.with_remedy(
                "correct auth.namespace, or vault.namespace if that is not set, or create the namespace if nothing was ever encrypted there",
            );
        } else if class == LoginErrorClass::Incomplete {
            diagnosis =
                diagnosis.with_remedy("exempt the plugin's role from MFA and from control groups");
        } else if diagnosis.cause.contains("source address") {
            diagnosis = diagnosis.with_remedy(
                "add the address of this node, as Vault sees it, to secret_id_bound_cidrs or \
                 token_bound_cidrs of the role",
            );
        } else if !error.is_transient() {
            diagnosis = diagnosis.with_remedy(advice);
        }
        let reason = match error.api_error() {
            // Of a token that the operator gave, the login is a look at it.
            Some(ApiErrorKind::TokenRefused) if method == "token" => Reason::TokenRejected,
            Some(ApiErrorKind::TokenRefused) => Reason::LoginDenied,
            Some(ApiErrorKind::NamespaceMissing) | None => error.reason(),
            Some(kind) if kind.is_transient() => error.reason(),
            Some(_) => class.reason(),
        };
        Self {
            reason,
            ..Self::new(class, diagnosis)
        }
    }

    fn new(class: LoginErrorClass, diagnosis: Diagnosis) -> Self {
        Self {
            class,
            reason: class.reason(),
            diagnosis,
        }
    }

    /// Its code.
    pub(in crate::session) fn reason(&self) -> Reason {
        self.reason
    }

    pub(in crate::session) fn class(&self) -> LoginErrorClass {
        self.class
    }

    /// What happened.
    pub(in crate::session) fn cause(&self) -> &str {
        &self.diagnosis.cause
    }

    /// What an operator can do about it.
    pub(in crate::session) fn remedy(&self) -> Option<&str> {
        self.diagnosis.remedy.as_deref()
    }

    /// What it is to the state machine. `locks_out`: whether Vault counts rejections by the method.
    pub(in crate::session) fn failure(&self, locks_out: bool) -> Failure {
        match self.class {
            LoginErrorClass::VaultUnavailable => Failure::Unreachable,
            LoginErrorClass::Transient(retry_after) => Failure::Transient(retry_after),
            LoginErrorClass::Spiffe { is_transient: true } => Failure::Transient(None),
            LoginErrorClass::UseLimitedToken | LoginErrorClass::Incomplete => {
                Failure::RejectedAndCounted
            }
            class if class.is_rejected_credential() && locks_out => Failure::RejectedAndCounted,
            _ => Failure::Rejected,
        }
    }
}

impl LoginErrorClass {
    /// The code where Vault's answer says nothing more precise.
    fn reason(self) -> Reason {
        match self {
            Self::VaultUnavailable => Reason::VaultUnreachable,
            Self::Transient(_) => Reason::LoginPending,
            Self::UnusableCredential | Self::UseLimitedToken => Reason::CredentialUnusable,
            Self::Spiffe { .. } => Reason::SpiffeUnavailable,
            Self::UntrustedWrapping => Reason::WrappingUntrusted,
            Self::Denied => Reason::LoginDenied,
            Self::RejectedCredentials => Reason::CredentialsRejected,
            Self::Incomplete => Reason::LoginIncomplete,
            Self::Refused => Reason::LoginRefused,
        }
    }

    /// The class of the metric.
    pub(in crate::session) fn metric(self) -> LoginFailure {
        match self {
            Self::VaultUnavailable => LoginFailure::Unreachable,
            Self::Transient(_) => LoginFailure::Transient,
            Self::UnusableCredential | Self::UseLimitedToken | Self::UntrustedWrapping => {
                LoginFailure::Credential
            }
            Self::Spiffe { .. } => LoginFailure::Spiffe,
            Self::Denied | Self::RejectedCredentials | Self::Incomplete | Self::Refused => {
                LoginFailure::Refused
            }
        }
    }

    /// Whether an operator has to act.
    pub(in crate::session) fn needs_operator(self) -> bool {
        !matches!(
            self,
            Self::VaultUnavailable | Self::Transient(_) | Self::Spiffe { is_transient: true }
        )
    }

    /// Whether only other credentials can help: Vault rejected these, and may have counted that.
    pub(in crate::session) fn is_rejected_credential(self) -> bool {
        matches!(self, Self::RejectedCredentials | Self::UntrustedWrapping)
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnosis.fmt(f)
    }
}

impl From<LoginError> for Diagnosis {
    fn from(error: LoginError) -> Self {
        error.diagnosis
    }
}

impl From<FetchError> for LoginError {
    fn from(error: FetchError) -> Self {
        let is_transient = error.is_transient();
        Self::new(LoginErrorClass::Spiffe { is_transient }, error.diagnosis())
    }
}

#[cfg(test)]
mod tests;
