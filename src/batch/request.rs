//! A call on its way to Vault: what it asks for, who takes its outcome, and why it may have none.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::operation::Operation;
use crate::reason::Reason;
use crate::session::LoginFault;
use crate::telemetry::spans::Parent;
use crate::vault::{ApiErrorKind, CallError, TransitKey};

/// Why a call has no result.
#[derive(Debug, Clone)]
pub(crate) enum Error {
    /// Vault rejected it, or did not answer in time.
    Call(CallError),
    /// Vault rejected the token, and whether it is still valid was not known in time: this says
    /// nothing of the key.
    TokenUnverified(CallError),
    /// There was no session until the deadline, for this reason.
    NoSession(LoginFault),
}

impl Error {
    /// Whether it says nothing but that Vault cannot be used now: nobody refused anything. What a proxy answers in
    /// its place says so only with a status of 5xx; a limit of the rate is an answer of Vault's.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            // Before a login has failed it is not known whether Vault is away or refuses.
            Self::NoSession(fault) => !fault.rejected && fault.reason != Reason::LoginPending,
            Self::TokenUnverified(_) => false,
            Self::Call(CallError::Unreachable { .. } | CallError::TimedOut { .. }) => true,
            Self::Call(CallError::UnexpectedResponse { status, .. }) => {
                (500..=599).contains(status)
            }
            Self::Call(CallError::Api { kind, .. }) => *kind == ApiErrorKind::Transient,
        }
    }
}

/// A call on its way to Vault.
pub(crate) struct Request<O: Operation> {
    pub(crate) operation: O,
    pub(crate) key: Arc<TransitKey>,
    pub(crate) deadline: Instant,
    pub(crate) policy: RetryPolicy,
    /// The call's span.
    pub(crate) parent: Parent,
    pub(crate) completion: Box<dyn Completion<O::Output>>,
}

/// Which failures are retried until the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RetryPolicy {
    /// None.
    Once,
    /// Transient ones.
    Transient,
    /// Transient ones, and a version that the server does not know: a standby that lags behind.
    TransientOrLagging,
}

/// Takes the outcome of a call.
pub(crate) trait Completion<T>: Send {
    /// Whether nobody waits for the outcome any more.
    fn is_abandoned(&self) -> bool;
    /// Called exactly once, unless the call was abandoned or its task ended.
    fn complete(self: Box<Self>, outcome: Result<T, Error>);
}

impl<T: Send> Completion<T> for oneshot::Sender<Result<T, Error>> {
    fn is_abandoned(&self) -> bool {
        self.is_closed()
    }

    fn complete(self: Box<Self>, outcome: Result<T, Error>) {
        let _ = self.send(outcome);
    }
}
