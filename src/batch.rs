//! Batching: Encrypts and Decrypts that arrive while requests are in flight leave together.
//!
//! One task per operation owns a [`queue`](queue::Queue), the requests in flight and every retry.
//! It knows keys of Transit and sessions, and nothing of key_ids: each call brings a [`Completion`]
//! that takes its outcome.

mod operation;
mod queue;
mod retry;
mod task;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use operation::{Decrypt, Encrypt, Operation};
pub(crate) use retry::{RetryPolicy, backoff_within, call_with_retries};

use crate::session::{LoginFault, Sessions};
use crate::telemetry::spans::Parent;
use crate::vault::{CallError, Client, TransitKey};

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

/// Takes the outcome of a call.
pub(crate) trait Completion<T>: Send {
    /// Whether nobody waits for the outcome any more.
    fn is_abandoned(&self) -> bool;
    /// Called exactly once, unless the call was abandoned or its task ended.
    fn complete(self: Box<Self>, outcome: Result<T, Error>);
}

/// The sending end of one operation's task.
#[derive(Debug, Clone)]
pub(crate) struct Batcher<O: Operation>(mpsc::UnboundedSender<Request<O>>);

impl<O: Operation> Batcher<O> {
    /// Starts the task in `tasks`; it ends with the last clone of its sending end.
    pub(crate) fn spawn(
        client: Arc<Client>,
        sessions: Sessions,
        max_in_flight: usize,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (requests, received) = mpsc::unbounded_channel();
        tasks.spawn(task::run(client, sessions, max_in_flight, received));
        Self(requests)
    }

    /// Hands a call over. If the task has ended, the call's completion is dropped.
    pub(crate) fn submit(&self, request: Request<O>) {
        let _ = self.0.send(request);
    }

    /// Hands a call over and waits for its outcome; [`None`] if the task ended before.
    pub(crate) async fn call(
        &self,
        key: &Arc<TransitKey>,
        operation: O,
        policy: RetryPolicy,
        deadline: Instant,
        parent: Parent,
    ) -> Option<Result<O::Output, Error>> {
        let (reply, outcome) = oneshot::channel();
        self.submit(Request {
            operation,
            key: key.clone(),
            deadline,
            policy,
            parent,
            completion: Box::new(reply),
        });
        outcome.await.ok()
    }
}

impl<T: Send> Completion<T> for oneshot::Sender<Result<T, Error>> {
    fn is_abandoned(&self) -> bool {
        self.is_closed()
    }

    fn complete(self: Box<Self>, outcome: Result<T, Error>) {
        let _ = self.send(outcome);
    }
}
