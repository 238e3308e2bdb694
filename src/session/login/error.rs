//! Why there is no new session.

use thiserror::Error;

use super::Method;
use crate::session::machine::Failure;
use crate::vault::{CallError, Refusal};

/// Why there is no new session.
#[derive(Debug, Error)]
pub(in crate::session) enum LoginError {
    /// Vault cannot be logged into now; only its health is asked for until it can.
    #[error("{0}")]
    Away(String),
    /// Our own side: a credential file.
    #[error("{0}")]
    Credential(String),
    /// Vault answered the login with an error.
    #[error("login by {method} failed: {cause}{mend}")]
    Failed {
        method: &'static str,
        cause: CallError,
        mend: String,
    },
    /// The token lives for less than a second more.
    #[error("the token is about to end: put a fresh one in its place")]
    Ended,
    /// Vault granted a token that a daemon cannot live on.
    #[error("the token is good for {0} requests only: make one without num_uses")]
    Counted(u64),
}

impl LoginError {
    /// What it is to the state machine.
    pub(in crate::session) fn failure(&self, method: &Method) -> Failure {
        match self {
            Self::Away(_) => Failure::Away,
            Self::Failed { cause, .. } => match cause {
                CallError::Unreachable { .. } => Failure::Away,
                cause if cause.is_passing() => Failure::Passing(cause.retry_after()),
                // Vault counts wrong credentials, which it answers with 400. It says 403 where
                // nothing is mounted, and to a role that is locked out: neither makes it worse.
                cause if cause.refusal() == Some(Refusal::TokenRefused) => Failure::Refused,
                _ if method.locks_out() => Failure::Counted,
                _ => Failure::Refused,
            },
            // Another try would spend one of those uses.
            Self::Counted(_) if method.locks_out() || !method.owns_its_token() => Failure::Counted,
            Self::Credential(_) | Self::Ended | Self::Counted(_) => Failure::Refused,
        }
    }

    /// Whether an operator has to act.
    pub(in crate::session) fn is_refusal(&self) -> bool {
        match self {
            Self::Away(_) => false,
            Self::Credential(_) | Self::Ended | Self::Counted(_) => true,
            Self::Failed { cause, .. } => !cause.is_passing(),
        }
    }
}
