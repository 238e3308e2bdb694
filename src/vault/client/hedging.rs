//! Sends a request to one endpoint until the deadline, and again where that may help: to the other
//! endpoints while the answer may be the endpoint's own fault, and if no response comes in time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::endpoint::Transport;
use super::selection::Observation;
use super::{Client, Request};
use crate::diagnosis::Diagnosis;
use crate::telemetry::metrics::VaultRequest;
use crate::telemetry::{events, spans};
use crate::vault::error::{CallError, Progress};
use crate::vault::error_kind::ApiErrorKind;
use crate::vault::response::Response;

/// After so long without a response the connection is perhaps lost, and a second request is sent
/// beside the first. Far above what Vault takes, and half of kube-apiserver's 3 s, so that both fit.
const HEDGE_AFTER: Duration = Duration::from_millis(1500);

/// The endpoint that was asked, and the outcome.
pub(super) type Attempt = (usize, Result<Response, CallError>);

type Attempts<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Attempt> + Send + 'a>>>;

/// A request that needs more than one attempt.
struct Search<'a> {
    client: &'a Client,
    request: &'a Request<'a>,
    running: Attempts<'a>,
    /// The endpoints of the running attempts.
    asked: Vec<usize>,
    /// Those of them from which no response came in time.
    silent: Vec<usize>,
    untried: VecDeque<usize>,
    /// Whether an attempt ended, or took too long, and another one should be made.
    wants_next: bool,
    /// The endpoint that was asked first, and its connections.
    first: (usize, Arc<Transport>),
    /// An attempt over new connections to that endpoint, and whether it is the first one that uses
    /// them.
    again: Option<(usize, bool)>,
    /// The endpoints that Vault answered with an error which may be their own, and that error.
    refused: Vec<(usize, String)>,
    /// The outcome if no further attempt succeeds.
    outcome: Option<Result<Response, CallError>>,
}

impl Client {
    /// Sends a request to the endpoints in this order, until one serves it.
    pub(super) async fn send_hedged(
        &self,
        order: Vec<usize>,
        request: &Request<'_>,
    ) -> Result<Response, CallError> {
        let mut untried = VecDeque::from(order);
        let Some(index) = untried.pop_front() else {
            return Err(no_endpoint(request));
        };
        let transport = self.endpoints[index].transport();
        let first = self.attempt(index, request);
        tokio::pin!(first);
        let ended = match timeout(hedge_after(request), &mut first).await {
            Ok((_, Ok(response))) if response.is_complete() => return Ok(response),
            ended => ended.ok(),
        };
        // Boxed because it is rare: each request would reserve memory for it.
        let mut search = Box::new(Search {
            client: self,
            request,
            running: Attempts::new(),
            asked: Vec::new(),
            silent: Vec::new(),
            untried,
            wants_next: false,
            first: (index, transport),
            again: None,
            refused: Vec::new(),
            outcome: None,
        });
        match ended {
            Some(attempt) => {
                if let Some(outcome) = search.take(attempt) {
                    return outcome;
                }
            }
            None => {
                search.run(index, first);
                search.fall_silent();
            }
        }
        Box::pin(search.finish()).await
    }

    /// Sends the request to an endpoint until the deadline, and records what that shows of it.
    pub(super) async fn attempt(&self, index: usize, request: &Request<'_>) -> Attempt {
        let endpoint = &self.endpoints[index];
        let transport = endpoint.transport();
        let began = Instant::now();
        let asked = AtomicUsize::new(index);
        let exchange = self.follow_redirect(endpoint, &transport, request, &asked);
        debug!(
            correlation_id = %request.id,
            path = request.path,
            address = endpoint.label(),
            uids = spans::uids().as_deref(),
            "request"
        );
        let outcome = timeout_at(request.deadline, exchange).await;
        let answering = asked.load(Ordering::Relaxed);
        let outcome = outcome.unwrap_or_else(|_| {
            if answering == index && !transport.responded_since(began) {
                endpoint.replace(&transport);
            }
            Err(CallError::TimedOut {
                path: request.path.to_owned(),
                address: self.endpoints[answering].label().to_owned(),
            })
        });
        if let Some(seen) = observation(request, &outcome) {
            let now = Instant::now();
            self.selection().record(answering, seen, now);
            // A standby whose redirect leads to a server that cannot serve cannot serve either.
            let fails = matches!(seen, Observation::CannotServe | Observation::Unresponsive);
            if answering != index && fails {
                self.selection()
                    .record(index, Observation::CannotServe, now);
            }
        }
        let (operation, took) = (request.operation(), began.elapsed());
        self.metrics.request(operation, label_of(&outcome), took);
        if let Some(replaced) = self.metrics.replaced() {
            replaced.request(VaultRequest {
                operation,
                method: request.method.as_str(),
                path: request.path,
                status: status_of(&outcome),
                took,
            });
        }
        (index, outcome)
    }

    /// A second attempt at an endpoint of which no response came. One request tries a new
    /// connection, and the others follow once that has brought a response: a Vault that is merely
    /// slow is not sent everything twice.
    async fn attempt_again(&self, index: usize, is_first: bool, request: &Request<'_>) -> Attempt {
        if !is_first {
            let transport = self.endpoints[index].transport();
            // If the deadline comes first, the attempt below reports it.
            let _ = timeout_at(request.deadline, transport.first_response()).await;
        }
        self.attempt(index, request).await
    }
}

impl<'a> Search<'a> {
    /// Makes further attempts until one of them decides the outcome, or none is left.
    async fn finish(mut self: Box<Self>) -> Result<Response, CallError> {
        loop {
            self.start_next();
            let is_answered = !self.refused.is_empty();
            if is_answered && self.asked.iter().all(|index| self.silent.contains(index)) {
                return self.give_up();
            }
            let can_hedge =
                !self.untried.is_empty() || self.again.is_some() || self.can_ask_again();
            let next = self.running.next();
            let attempt = if is_answered || can_hedge {
                timeout(hedge_after(self.request), next).await
            } else {
                Ok(next.await)
            };
            match attempt {
                Ok(Some(attempt)) => {
                    if let Some(outcome) = self.take(attempt) {
                        return outcome;
                    }
                }
                Ok(None) => return self.give_up(),
                // An answer is there already, and nobody else to ask.
                Err(_) if is_answered && self.untried.is_empty() => return self.give_up(),
                Err(_) => self.fall_silent(),
            }
        }
    }

    fn run(&mut self, index: usize, attempt: impl Future<Output = Attempt> + Send + 'a) {
        self.asked.push(index);
        self.running.push(Box::pin(attempt));
    }

    /// No response came in time: another attempt is made beside the running ones. Even if other
    /// requests were answered meanwhile: a request carries many calls, and its connection may be
    /// the lost one. Few requests are in flight, so few are sent twice.
    fn fall_silent(&mut self) {
        self.silent.clone_from(&self.asked);
        self.wants_next = true;
        if self.can_ask_again() {
            let (index, transport) = &self.first;
            let is_first = self.client.endpoints[*index].replace(transport);
            self.again = Some((*index, is_first));
        }
    }

    /// Whether a new connection to the endpoint that was asked first may help, and was not tried.
    fn can_ask_again(&self) -> bool {
        let (index, transport) = &self.first;
        let is_waiting = self.asked.iter().filter(|asked| *asked == index).count() == 1;
        is_waiting && self.again.is_none() && !transport.is_fresh()
    }

    /// Begins the next attempt: at the next endpoint; and unless that is healthy, again at the
    /// first one.
    fn start_next(&mut self) {
        if !std::mem::take(&mut self.wants_next) || self.request.time_left().is_zero() {
            return;
        }
        let (client, request) = (self.client, self.request);
        let next = self.next_untried();
        let is_healthy = next.is_some_and(|next| client.selection().is_healthy(next));
        if let Some((index, is_first)) = self.again.take_if(|_| !is_healthy) {
            self.run(index, client.attempt_again(index, is_first, request));
        }
        if let Some(next) = next {
            self.run(next, client.attempt(next, request));
        }
    }

    /// The next endpoint. Once there is an answer, those are left out that would cost time.
    fn next_untried(&mut self) -> Option<usize> {
        let now = Instant::now();
        let selection = self.client.selection();
        while let Some(next) = self.untried.pop_front() {
            if self.refused.is_empty() || !selection.was_just_silent(next, now) {
                return Some(next);
            }
        }
        None
    }

    /// Takes what an attempt brought. Returns the outcome if no other attempt can change it.
    fn take(&mut self, (index, outcome): Attempt) -> Option<Result<Response, CallError>> {
        if let Some(position) = self.asked.iter().position(|asked| *asked == index) {
            self.asked.swap_remove(position);
        }
        let may_go_on = match &outcome {
            Ok(response) if response.is_complete() => {
                self.served_by(index);
                return Some(outcome);
            }
            Err(error) if !self.request.can_be_repeated() => error.is_unsent(),
            // Vault wants fewer requests.
            Err(error) if error.api_error() == Some(ApiErrorKind::Throttled) => false,
            _ => true,
        };
        if let Some(error) = own_error(&outcome) {
            self.refused.push((index, error));
        }
        let is_better = self
            .outcome
            .as_ref()
            .is_none_or(|kept| significance(&outcome) > significance(kept));
        if is_better {
            self.outcome = Some(outcome);
        }
        self.wants_next = true;
        if may_go_on { None } else { self.outcome.take() }
    }

    /// Records what it shows of the other endpoints that this one served the request.
    fn served_by(&self, index: usize) {
        let now = Instant::now();
        let mut selection = self.client.selection();
        for silent in self.silent.iter().filter(|&one| self.asked.contains(one)) {
            if *silent != index {
                selection.record(*silent, Observation::Unresponsive, now);
            }
        }
        for (refused, error) in &self.refused {
            if *refused != index && selection.record(*refused, Observation::CannotServe, now) {
                events::EndpointRefused {
                    address: self.client.endpoints[*refused].label().to_owned(),
                    error: error.clone(),
                }
                .emit();
            }
        }
    }

    fn give_up(mut self: Box<Self>) -> Result<Response, CallError> {
        let now = Instant::now();
        for silent in &self.asked {
            self.client
                .selection()
                .record(*silent, Observation::Unresponsive, now);
        }
        let outcome = self.outcome.take();
        outcome.unwrap_or_else(|| Err(no_endpoint(self.request)))
    }
}

/// How long to wait for a response before another attempt is made beside the first.
fn hedge_after(request: &Request<'_>) -> Duration {
    if request.can_be_repeated() {
        HEDGE_AFTER.min(request.time_left() / 2)
    } else {
        // Its own deadline comes first.
        request.time_left() + HEDGE_AFTER
    }
}

/// What the outcome shows of the endpoint; `None` if nothing.
fn observation(
    request: &Request<'_>,
    outcome: &Result<Response, CallError>,
) -> Option<Observation> {
    Some(match outcome {
        Ok(_) if request.is_about_server() => return None,
        Ok(response) if response.is_complete() => Observation::Served,
        Err(CallError::TimedOut { .. })
        | Err(CallError::Unreachable {
            progress: Progress::ConnectTimedOut,
            ..
        }) => Observation::Unresponsive,
        Err(CallError::Unreachable { .. } | CallError::UnexpectedResponse { .. }) => {
            Observation::CannotServe
        }
        Err(CallError::Api { kind, .. }) if *kind == ApiErrorKind::Transient => {
            Observation::CannotServe
        }
        Ok(_) | Err(CallError::Api { .. }) => Observation::Answered,
    })
}

/// The error of Vault that may be the endpoint's own, such as that of a server which lost its
/// policies, or which lags behind.
fn own_error(outcome: &Result<Response, CallError>) -> Option<String> {
    match outcome {
        Ok(response) => (!response.is_complete()).then(|| "items of a batch failed".to_owned()),
        Err(error @ CallError::Api { .. }) if !error.is_transient() => Some(error.to_string()),
        Err(_) => None,
    }
}

/// Of two outcomes the more significant one is returned.
fn significance(outcome: &Result<Response, CallError>) -> u8 {
    match outcome {
        Ok(_) => 4,
        Err(CallError::Api { kind, .. }) => match kind {
            ApiErrorKind::Transient => 1,
            ApiErrorKind::Throttled => 2,
            _ => 3,
        },
        Err(_) => 0,
    }
}

/// Does not happen: settings hold at least one address.
fn no_endpoint(request: &Request<'_>) -> CallError {
    CallError::Unreachable {
        path: request.path.to_owned(),
        address: "vault".to_owned(),
        cause: Diagnosis::new("vault.address is empty"),
        progress: Progress::NotConnected,
    }
}

/// The HTTP status, if there was a response.
fn status_of(outcome: &Result<Response, CallError>) -> Option<u16> {
    match outcome {
        Ok(response) => Some(response.status()),
        Err(CallError::Api { status, .. } | CallError::UnexpectedResponse { status, .. }) => {
            Some(*status)
        }
        Err(CallError::Unreachable { .. } | CallError::TimedOut { .. }) => None,
    }
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

#[cfg(test)]
mod tests;
