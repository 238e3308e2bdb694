//! How a call to Vault can fail. Texts name the path and hold no secret.

use std::fmt;
use std::time::Duration;

use super::error_kind::ApiErrorKind;
use crate::diagnosis::Diagnosis;
use crate::reason::Reason;

/// A call to Vault without a usable response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// No connection, or it broke.
    Unreachable {
        /// The API path that was called.
        path: String,
        /// The address that was tried last.
        address: String,
        /// The message of the network or of TLS.
        cause: Diagnosis,
        /// How far the request got.
        progress: Progress,
    },
    /// The deadline came before a response.
    TimedOut {
        /// The API path that was called.
        path: String,
        /// The address that was called.
        address: String,
    },
    /// Vault answered with an error in its own JSON.
    Api {
        /// The API path that was called.
        path: String,
        /// The HTTP status.
        status: u16,
        /// Vault's message on one line; empty if it gave none.
        message: String,
        /// What the message means.
        kind: ApiErrorKind,
        /// How long Vault asks to wait.
        retry_after: Option<Duration>,
    },
    /// A response that is not Vault's, such as a proxy's, or a broken body.
    UnexpectedResponse {
        /// The API path that was called.
        path: String,
        /// The address that was called.
        address: String,
        /// The HTTP status.
        status: u16,
        /// What is wrong with the response.
        cause: Diagnosis,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
}

/// Why no endpoint can serve, or one cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// Its code.
    pub reason: Reason,
    /// What an operator reads.
    pub diagnosis: Diagnosis,
}

/// How far a request got for which no response came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// No connection was made within its time.
    ConnectTimedOut,
    /// No connection was made.
    NotConnected,
    /// It may have been sent, and carried out.
    PerhapsSent,
}

impl Unavailable {
    pub(super) fn new(reason: Reason, cause: &str, remedy: &str) -> Self {
        let diagnosis = Diagnosis::new(cause).with_remedy(remedy);
        Self { reason, diagnosis }
    }
}

impl CallError {
    /// Whether the request was certainly not sent, so that any request may be repeated elsewhere.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Unreachable { progress, .. } => *progress != Progress::PerhapsSent,
            _ => false,
        }
    }

    /// What Vault's error means; `None` if the error is not Vault's.
    #[must_use]
    pub fn api_error(&self) -> Option<ApiErrorKind> {
        match self {
            Self::Api { kind, .. } => Some(*kind),
            _ => None,
        }
    }

    /// Its code.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreachable { .. } => Reason::VaultUnreachable,
            Self::TimedOut { .. } => Reason::VaultTimeout,
            Self::UnexpectedResponse { .. } => Reason::VaultUnexpectedResponse,
            Self::Api {
                kind,
                status,
                message,
                ..
            } => kind.reason(*status, message),
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

    /// The `Retry-After` of Vault, or of a load balancer in front of it.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Api { retry_after, .. } | Self::UnexpectedResponse { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }

    /// The cause with its path, and the remedy where there is one.
    #[must_use]
    pub fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Unreachable {
                path,
                address,
                cause,
                ..
            } => cause
                .clone()
                .about(format_args!("{path}: {address} cannot be reached")),
            Self::TimedOut { path, address } => {
                Diagnosis::new(format!("{path}: no answer in time from {address}"))
            }
            Self::Api {
                path,
                status,
                message,
                ..
            } => {
                let separator = if message.is_empty() { "" } else { ": " };
                Diagnosis::new(format!("{path}: HTTP {status}{separator}{message}"))
            }
            Self::UnexpectedResponse {
                path,
                address,
                status,
                cause,
                ..
            } => cause.clone().about(format_args!(
                "{path}: unexpected response from {address} (HTTP {status})"
            )),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnosis().fmt(f)
    }
}

impl std::error::Error for CallError {}
