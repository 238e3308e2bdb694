//! What happens to a session, and the steps that follow.

use std::time::Duration;

use crate::vault::Lease;

/// What takes time and can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask whether Vault can serve logins. Every login begins with it.
    CheckHealth,
    /// Log in.
    Login,
    /// Renew the token.
    Renew,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// The time that [`super::Machine::wake`] returned has come.
    TimerFired,
    /// Vault can serve logins.
    VaultReady,
    /// It cannot: it is unreachable, sealed, or without a leader.
    VaultUnavailable,
    /// A login succeeded.
    Granted(Lease),
    /// A login failed.
    Failed(Failure),
    /// A renewal succeeded; `None` is Vault's 204, which renewed nothing.
    Renewed(Option<Lease>),
    /// A renewal failed; the token may still be valid.
    NotRenewed(Failure),
    /// Vault rejected the token as invalid or expired.
    TokenInvalid,
    /// The token is valid but is denied what it is needed for: by now a role or a file may bring a
    /// token that is not.
    PermissionDenied,
    /// A wrapping token was delivered. It expires soon, so the login should not wait for the end of
    /// the session.
    NewWrappingToken,
    /// An operator or a changed file asks to retry what was rejected.
    RetryNow,
    /// A call waits for a session.
    SessionRequested,
}

/// How a step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Vault could not be reached.
    Unreachable,
    /// It can be retried; Vault may have said when.
    Transient(Option<Duration>),
    /// Rejected. For a login by a method without lockout Vault itself may be the cause.
    Rejected,
    /// Rejected where Vault counts rejections, or where each login attempt costs something.
    RejectedAndCounted,
}

impl Event {
    /// Whether it ends a step of a login that brought no token. A rejection that Vault counts has to be
    /// heeded, whatever the login was for.
    pub(super) fn ends_without_grant(self) -> bool {
        match self {
            Self::VaultReady | Self::VaultUnavailable => true,
            Self::Failed(failure) => failure != Failure::RejectedAndCounted,
            _ => false,
        }
    }

    /// The step whose outcome it is.
    pub(super) fn ends(self) -> Option<Step> {
        match self {
            Self::TimerFired
            | Self::SessionRequested
            | Self::PermissionDenied
            | Self::NewWrappingToken
            | Self::RetryNow
            | Self::TokenInvalid => None,
            Self::VaultReady | Self::VaultUnavailable => Some(Step::CheckHealth),
            Self::Granted(_) | Self::Failed(_) => Some(Step::Login),
            Self::Renewed(_) | Self::NotRenewed(_) => Some(Step::Renew),
        }
    }
}
