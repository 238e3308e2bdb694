//! How a call to Vault can fail. Texts name the path and hold no secret.

use std::time::Duration;

use thiserror::Error;

use super::error_kind::ApiErrorKind;

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
    Api {
        /// The API path that was called.
        path: String,
        /// The HTTP status.
        status: u16,
        /// Vault's words on one line; empty when it gave none.
        message: String,
        /// What they mean.
        kind: ApiErrorKind,
        /// How long Vault asks to wait.
        retry_after: Option<Duration>,
    },
    /// Something answered, but not as Vault does: a proxy, or a broken body.
    #[error("{path}: the answer of {address} (status {status}) is not Vault's: {cause}")]
    UnexpectedResponse {
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
    pub fn api_error(&self) -> Option<ApiErrorKind> {
        match self {
            Self::Api { kind, .. } => Some(*kind),
            _ => None,
        }
    }

    /// The API path that was called.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Unreachable { path, .. }
            | Self::TimedOut { path, .. }
            | Self::Api { path, .. }
            | Self::UnexpectedResponse { path, .. } => path,
        }
    }

    /// Whether the same call may succeed a moment later with nothing changed by an operator.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.api_error().is_none_or(ApiErrorKind::is_transient)
    }

    /// How long Vault, or a load balancer before it, asked to wait in its `Retry-After`.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Api { retry_after, .. } | Self::UnexpectedResponse { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }
}
