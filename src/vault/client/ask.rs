//! Asking one node: until the deadline, and once more where it says nothing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{self, Either};
use tokio::time::{Instant, timeout, timeout_at};

use super::node::Pool;
use super::{Client, Request};
use crate::vault::answer::Answer;
use crate::vault::error::CallError;

/// A node that says nothing for so long has perhaps lost the connection: another one is tried
/// beside it. Far above what Vault takes, and half of kube-apiserver's 3 s, so that both fit.
const PATIENCE: Duration = Duration::from_millis(1500);
/// After so long without an answer a login trusts no kept connection: it can often not be repeated.
const QUIET: Duration = Duration::from_secs(1);

/// What came of asking, and which node it came from.
pub(super) type Asked = (usize, Result<Answer, CallError>);

impl Client {
    /// Asks a node; where it stays silent, once more: `next`, if that works, else the same node on a
    /// new connection. The first answer counts.
    pub(super) async fn ask(
        &self,
        index: usize,
        next: Option<usize>,
        request: &Request<'_>,
    ) -> Asked {
        let node = &self.nodes[index];
        if !request.can_be_repeated() && node.was_quiet_for(QUIET) {
            node.drop_connections();
        }
        let pool = node.pool();
        let first = self.ask_once(index, request);
        tokio::pin!(first);
        let policy = PATIENCE.min(request.time_left() / 2);
        let working = next.filter(|next| self.nodes[*next].mark().is_none());
        let is_worth_it = working.is_some() || !pool.is_fresh();
        if !(request.can_be_repeated() && is_worth_it) {
            return first.await;
        }
        if let Ok(asked) = timeout(policy, &mut first).await {
            return asked;
        }
        // Even where others were answered meanwhile: a request carries many calls, and its connection
        // may be the one that is lost. Few requests are out at a time, so few are asked twice.
        // Boxed, because it is rare: each request would reserve room for it.
        let second = Box::pin(self.ask_again(index, &pool, working, request));
        match future::select(first, second).await {
            Either::Left((asked, _)) if is_answer(&asked) => asked,
            Either::Left((_, second)) => second.await,
            Either::Right((asked, _)) if is_answer(&asked) => {
                if asked.0 != index {
                    node.hangs();
                }
                asked
            }
            Either::Right((_, first)) => first.await,
        }
    }

    /// The second try. On the same node one call tries a new connection, and the others follow once
    /// that has brought an answer: a Vault that is merely slow is not asked twice for everything.
    async fn ask_again(
        &self,
        index: usize,
        silent: &Arc<Pool>,
        working: Option<usize>,
        request: &Request<'_>,
    ) -> Asked {
        let node = &self.nodes[index];
        let is_first = node.replace(silent);
        if let Some(next) = working {
            return self.ask_once(next, request).await;
        }
        if !is_first {
            let pool = node.pool();
            // When the deadline came first, the try below says so.
            let _ = timeout_at(request.deadline, pool.first_answer()).await;
        }
        self.ask_once(index, request).await
    }

    /// Asks a node until the deadline, and remembers how that went.
    async fn ask_once(&self, index: usize, request: &Request<'_>) -> Asked {
        let node = &self.nodes[index];
        let (pool, began) = (node.pool(), Instant::now());
        let exchange = timeout_at(request.deadline, self.follow(node, &pool, request));
        let outcome = exchange.await.unwrap_or_else(|_| {
            if !pool.was_heard_since(began) {
                node.replace(&pool);
            }
            node.hangs();
            Err(CallError::TimedOut {
                path: request.path.to_owned(),
                address: node.label().to_owned(),
            })
        });
        node.note(&outcome);
        let ended = outcome_of(&outcome);
        self.metrics
            .request(request.operation(), ended, began.elapsed());
        (index, outcome)
    }
}

/// Whether Vault itself spoke.
fn is_answer((_, outcome): &Asked) -> bool {
    matches!(outcome, Ok(_) | Err(CallError::Api { .. }))
}

/// In one word, for the metrics.
fn outcome_of(outcome: &Result<Answer, CallError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(CallError::Unreachable { .. }) => "unreachable",
        Err(CallError::TimedOut { .. }) => "timed_out",
        Err(CallError::UnexpectedResponse { .. }) => "not_vault",
        Err(CallError::Api { status: 403, .. }) => "denied",
        Err(CallError::Api { status: 429, .. }) => "rate_limited",
        Err(CallError::Api { status, .. }) if *status >= 500 => "server_error",
        Err(CallError::Api { .. }) => "refused",
    }
}
