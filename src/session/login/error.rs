//! Why there is no new session.

use thiserror::Error;

use super::Method;
use crate::session::machine::Failure;
use crate::session::spiffe::FetchError;
use crate::telemetry::metrics::LoginFailure;
use crate::vault::{ApiErrorKind, CallError};

/// Why there is no new session.
#[derive(Debug, Error)]
pub(in crate::session) enum LoginError {
    /// Vault cannot be logged into now; only its health is asked for until it can.
    #[error("{0}")]
    Away(String),
    /// Our own side: a credential file.
    #[error("{0}")]
    Credential(String),
    /// The SPIFFE agent gave no JWT.
    #[error(transparent)]
    Spiffe(#[from] FetchError),
    /// Vault answered the login with an error.
    #[error("login by {method} failed: {cause}{remedy}")]
    Failed {
        method: &'static str,
        cause: CallError,
        remedy: String,
    },
    /// The token lives for less than a second more.
    #[error("the token is about to end: put a fresh one in its place")]
    Ended,
    /// A wrapping token that was used already, or was made for something else.
    #[error("{0}")]
    Wrapping(String),
    /// Vault granted a token that a daemon cannot live on.
    #[error("the token is good for {0} requests only: make one without num_uses")]
    Counted(u64),
}

impl LoginError {
    /// What it is to the state machine.
    pub(in crate::session) fn failure(&self, method: &Method) -> Failure {
        match self {
            Self::Away(_) => Failure::Away,
            Self::Failed {
                cause: CallError::Unreachable { .. },
                ..
            } => Failure::Away,
            Self::Failed { cause, .. } if cause.is_transient() => {
                Failure::Transient(cause.retry_after())
            }
            Self::Spiffe(error) if error.is_transient() => Failure::Transient(None),
            // Each look at such a token costs one of its uses.
            Self::Counted(_) if !method.owns_its_token() => Failure::Counted,
            error if error.is_refused_credential() && method.locks_out() => Failure::Counted,
            _ => Failure::Refused,
        }
    }

    /// Its class, for the metrics.
    pub(in crate::session) fn class(&self) -> LoginFailure {
        match self {
            Self::Away(_) => LoginFailure::Unreachable,
            Self::Credential(_) | Self::Wrapping(_) | Self::Ended | Self::Counted(_) => {
                LoginFailure::Credential
            }
            Self::Spiffe(_) => LoginFailure::Spiffe,
            Self::Failed { cause, .. } => match cause {
                CallError::Unreachable { .. } => LoginFailure::Unreachable,
                cause if cause.is_transient() => LoginFailure::Transient,
                _ => LoginFailure::Refused,
            },
        }
    }

    /// Whether an operator has to act.
    pub(in crate::session) fn is_refusal(&self) -> bool {
        match self {
            Self::Away(_) => false,
            Self::Credential(_) | Self::Wrapping(_) | Self::Ended | Self::Counted(_) => true,
            Self::Spiffe(error) => !error.is_transient(),
            Self::Failed { cause, .. } => !cause.is_transient(),
        }
    }

    /// Whether Vault saw credentials and refused them, and may have counted it; or whether only
    /// other ones can help.
    pub(in crate::session) fn is_refused_credential(&self) -> bool {
        match self {
            // Vault answers wrong credentials with 400. It says 403 where nothing is mounted, and
            // to a role that is locked out: to try again makes neither of them worse.
            Self::Failed { cause, .. } => {
                !cause.is_transient() && cause.api_error() != Some(ApiErrorKind::TokenRefused)
            }
            Self::Wrapping(_) => true,
            _ => false,
        }
    }
}
