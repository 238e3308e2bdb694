//! Why there is no new session.

use std::time::Duration;

use thiserror::Error;

use super::Method;
use crate::spiffe::FetchError;
use crate::vault::CallError;

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
    #[error("login by {method} failed: {cause}{mend}")]
    Failed {
        method: &'static str,
        cause: CallError,
        mend: String,
    },
    /// A wrapping token that was used already, or was made for something else.
    #[error("{0}")]
    Wrapping(String),
    /// Vault granted a token that a daemon cannot live on.
    #[error("the token is good for {0} requests only: make one without num_uses")]
    Counted(u64),
}

impl LoginError {
    pub(in crate::session) fn is_away(&self) -> bool {
        matches!(self, Self::Away(_))
    }

    /// Whether an operator has to act.
    pub(in crate::session) fn is_refusal(&self) -> bool {
        match self {
            Self::Away(_) => false,
            Self::Credential(_) | Self::Wrapping(_) | Self::Counted(_) => true,
            Self::Spiffe(error) => !error.is_passing(),
            Self::Failed { cause, .. } => !cause.is_passing(),
        }
    }

    /// Whether Vault saw credentials and refused them, and may have counted it; or whether only
    /// other ones can help.
    pub(in crate::session) fn is_refused_credential(&self) -> bool {
        match self {
            Self::Failed { cause, .. } => !cause.is_passing(),
            Self::Wrapping(_) => true,
            Self::Away(_) | Self::Credential(_) | Self::Spiffe(_) | Self::Counted(_) => false,
        }
    }

    /// Whether another try does harm, so that only a change or a long time is waited for.
    pub(in crate::session) fn harms_if_repeated(&self, method: &Method) -> bool {
        match self {
            // Each look at such a token costs one of its uses.
            Self::Counted(_) => !method.owns_its_token(),
            error => error.is_refused_credential() && method.locks_out(),
        }
    }

    pub(in crate::session) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failed { cause, .. } => cause.retry_after(),
            _ => None,
        }
    }
}
