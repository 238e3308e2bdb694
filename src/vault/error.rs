//! How a call to Vault can fail. Texts name the path and hold no secret.

use std::time::Duration;

use thiserror::Error;

use super::refusal::Refusal;

/// A call to Vault that brought no answer one could use.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CallError {
    /// No connection, or it broke.
    #[error("{path}: {address} cannot be reached: {cause}")]
    Unreachable {
        /// The API path that was called.
        path: String,
        /// The address that was tried last.
        address: String,
        /// The network's or TLS's own words.
        cause: String,
    },
    /// The deadline came first.
    #[error("{path}: no answer in time from {address}")]
    TimedOut {
        /// The API path that was called.
        path: String,
        /// The address that was asked.
        address: String,
    },
    /// Vault answered with an error in its own JSON.
    #[error("{path}: answered {status}: {message}")]
    Refused {
        /// The API path that was called.
        path: String,
        /// The HTTP status.
        status: u16,
        /// Vault's words on one line; empty when it gave none.
        message: String,
        /// What they mean.
        meaning: Refusal,
        /// How long Vault asks to wait.
        retry_after: Option<Duration>,
    },
    /// Something answered, but not as Vault does: a proxy, or a broken body.
    #[error("{path}: the answer of {address} (status {status}) is not Vault's: {cause}")]
    Foreign {
        /// The API path that was called.
        path: String,
        /// The address that was asked.
        address: String,
        /// The HTTP status.
        status: u16,
        /// What is wrong with the answer.
        cause: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
}

impl CallError {
    /// What Vault meant, where it was Vault that spoke.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { meaning, .. } => Some(*meaning),
            _ => None,
        }
    }

    /// The API path that was called.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Unreachable { path, .. }
            | Self::TimedOut { path, .. }
            | Self::Refused { path, .. }
            | Self::Foreign { path, .. } => path,
        }
    }

    /// Whether the same call may succeed a moment later with nothing changed by an operator.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.refusal().is_none_or(Refusal::is_passing)
    }

    /// How long Vault, or a load balancer before it, asked to wait in its `Retry-After`.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } | Self::Foreign { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
