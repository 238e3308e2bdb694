//! The kind of a failure, and the reason code where nothing more is known.

use crate::reason::Reason;

/// The kind of a failure; the gRPC side maps it to a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Vault cannot serve now.
    Unavailable,
    /// The caller's time ran out.
    DeadlineExceeded,
    /// Vault limits the rate of requests.
    Throttled,
    /// Vault rejected the credentials, or its policy denies the path.
    Denied,
    /// The key is not in a state that allows it.
    Precondition,
    /// The caller sent something that cannot be used.
    Invalid,
    /// The response is none that Vault gives.
    Internal,
}

impl ErrorKind {
    /// The code where nothing more is known.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Unavailable => Reason::VaultSilent,
            Self::DeadlineExceeded => Reason::DeadlineExceeded,
            Self::Throttled => Reason::VaultThrottled,
            Self::Denied => Reason::PolicyDenied,
            Self::Precondition => Reason::KeyUnusable,
            Self::Invalid => Reason::RequestInvalid,
            Self::Internal => Reason::InternalError,
        }
    }
}
