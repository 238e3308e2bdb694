//! Sends a request to one endpoint until the deadline, and a second time if no response comes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{self, Either};
use tokio::time::{Instant, timeout, timeout_at};

use super::endpoint::Transport;
use super::{Client, Request};
use crate::vault::error::CallError;
use crate::vault::response::Response;

/// After so long without a response the connection is perhaps lost, and a second request is sent
/// beside the first. Far above what Vault takes, and half of kube-apiserver's 3 s, so that both fit.
const HEDGE_AFTER: Duration = Duration::from_millis(1500);

/// The outcome of a request, and the index of the endpoint that it came from.
pub(super) type Attempt = (usize, Result<Response, CallError>);

impl Client {
    /// Sends a request to an endpoint. If no response comes in time, sends it a second time: to
    /// `next` if that is healthy, else to the same endpoint over a new connection. The first
    /// response counts.
    pub(super) async fn send_hedged(
        &self,
        index: usize,
        next: Option<usize>,
        request: &Request<'_>,
    ) -> Attempt {
        let endpoint = &self.endpoints[index];
        let transport = endpoint.transport();
        let first = self.attempt(index, request);
        tokio::pin!(first);
        let healthy = next.filter(|next| self.endpoints[*next].health().is_healthy());
        let is_useful = healthy.is_some() || !transport.is_fresh();
        if !(request.can_be_repeated() && is_useful) {
            return first.await;
        }
        let hedge_after = HEDGE_AFTER.min(request.time_left() / 2);
        if let Ok(attempt) = timeout(hedge_after, &mut first).await {
            return attempt;
        }
        // Even if other requests were answered meanwhile: a request carries many calls, and its
        // connection may be the lost one. Few requests are in flight, so few are sent twice.
        // Boxed because it is rare: each request would reserve memory for it.
        let second = Box::pin(self.hedge(index, &transport, healthy, request));
        match future::select(first, second).await {
            Either::Left((attempt, _)) if is_from_vault(&attempt) => attempt,
            Either::Left((_, second)) => second.await,
            Either::Right((attempt, _)) if is_from_vault(&attempt) => {
                if attempt.0 != index {
                    endpoint.mark_unresponsive();
                }
                attempt
            }
            Either::Right((_, first)) => first.await,
        }
    }

    /// The second request. On the same endpoint one call tries a new connection, and the others
    /// follow once that has brought a response: a Vault that is merely slow is not sent everything
    /// twice.
    async fn hedge(
        &self,
        index: usize,
        silent: &Arc<Transport>,
        healthy: Option<usize>,
        request: &Request<'_>,
    ) -> Attempt {
        let endpoint = &self.endpoints[index];
        let is_first = endpoint.replace(silent);
        if let Some(next) = healthy {
            return self.attempt(next, request).await;
        }
        if !is_first {
            let transport = endpoint.transport();
            // If the deadline comes first, the attempt below reports it.
            let _ = timeout_at(request.deadline, transport.first_response()).await;
        }
        self.attempt(index, request).await
    }

    /// Sends the request to an endpoint until the deadline, and records the endpoint's health.
    async fn attempt(&self, index: usize, request: &Request<'_>) -> Attempt {
        let endpoint = &self.endpoints[index];
        let transport = endpoint.transport();
        let began = Instant::now();
        let exchange = self.follow_redirect(endpoint, &transport, request);
        let outcome = timeout_at(request.deadline, exchange).await;
        let outcome = outcome.unwrap_or_else(|_| {
            if !transport.responded_since(began) {
                endpoint.replace(&transport);
            }
            endpoint.mark_unresponsive();
            Err(CallError::TimedOut {
                path: request.path.to_owned(),
                address: endpoint.label().to_owned(),
            })
        });
        endpoint.record(&outcome);
        self.metrics
            .request(request.operation(), label_of(&outcome), began.elapsed());
        (index, outcome)
    }
}

/// Whether the outcome is a response of Vault itself.
fn is_from_vault((_, outcome): &Attempt) -> bool {
    matches!(outcome, Ok(_) | Err(CallError::Api { .. }))
}

/// The outcome as a label of the metrics.
fn label_of(outcome: &Result<Response, CallError>) -> &'static str {
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
