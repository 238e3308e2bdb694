//! The callers whose tokens are checked.

use ractor::RpcReplyPort;

use crate::session::message::TokenStatus;

/// The callers that wait for a check.
#[derive(Debug, Default)]
pub(super) struct PendingChecks {
    /// Those of the check in progress.
    pub(super) current: Vec<RpcReplyPort<TokenStatus>>,
    /// Those of the next check: they were refused after the current one began, which may have been
    /// too early for them.
    pub(super) next: Vec<RpcReplyPort<TokenStatus>>,
}
