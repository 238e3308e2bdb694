//! Batching: Encrypts and Decrypts that arrive while requests are in flight leave together.
//!
//! One task per operation owns a [`queue`](queue::Queue), the requests in flight and every retry.
//! It knows keys of Transit and sessions, and nothing of key_ids: each call brings a [`Completion`]
//! that takes its outcome.

mod limit;
mod operation;
mod queue;
mod request;
mod retry;
mod task;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use operation::{Decrypt, Encrypt, Operation};
pub(crate) use request::{Completion, Error, Request, RetryPolicy};
pub(crate) use retry::{backoff_within, call_with_retries};

use crate::session::Sessions;
use crate::telemetry::spans::Parent;
use crate::vault::{Client, TransitKey};

/// The sending end of one operation's task.
#[derive(Debug, Clone)]
pub(crate) struct Batcher<O: Operation>(mpsc::UnboundedSender<Request<O>>);

impl<O: Operation> Batcher<O> {
    /// Starts the task in `tasks`; it ends with the last clone of its sending end.
    pub(crate) fn spawn(
        client: Arc<Client>,
        sessions: Sessions,
        max_in_flight: Option<usize>,
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
