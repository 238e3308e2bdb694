//! What a simulated daemon has in place of the host and of the network. Only unit tests have it.
//!
//! It belongs to a thread: a simulation runs on one of its own, beside other tests.

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;

/// All that the daemon learns from outside of its process.
pub(crate) trait Outside: Debug + Send + Sync {
    /// Carries a request to Vault, and its response back.
    fn vault(&self, request: ToVault) -> BoxFuture<'static, FromVault>;
    /// The clock on the wall.
    fn wall_time(&self) -> SystemTime;
    /// The id of the boot.
    fn boot(&self) -> String;
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct ToVault {
    pub(crate) address: String,
    pub(crate) method: String,
    /// Below `/v1/`.
    pub(crate) path: String,
    pub(crate) token: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// A response; `None` if the connection was refused or broke: whether the request may have been sent.
pub(crate) type FromVault = Result<http::Response<reqwest::Body>, MaybeSent>;

/// Whether a request for which no response came may have been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaybeSent(pub(crate) bool);

thread_local! {
    static OUTSIDE: RefCell<Option<Arc<dyn Outside>>> = const { RefCell::new(None) };
}

/// Has this thread simulate.
pub(crate) fn set(outside: Arc<dyn Outside>) {
    OUTSIDE.set(Some(outside));
}

/// What this thread simulates; `None` if it does not.
pub(crate) fn outside() -> Option<Arc<dyn Outside>> {
    OUTSIDE.with_borrow(Clone::clone)
}

/// Blocking work, which a simulation does at once: a thread would end it at a time of its own.
pub(crate) fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    if outside().is_some() {
        tokio::spawn(async move { work() })
    } else {
        tokio::task::spawn_blocking(work)
    }
}
