//! The queue of one operation, as decisions without I/O: what waits leaves together as soon as a
//! request may be in flight, and nothing waits for a timer. Failures come back to the end of it.

mod entry;
pub(super) mod failed;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::limit::{Limit, Sample};
use super::operation::Operation;
use super::request::{Error, Request};
use crate::session::{Session, TokenStatus};
use crate::telemetry::spans::Callers;
use crate::vault::{ApiErrorKind, CallError, Outcomes, TransitKey};
use entry::{Builder, Entry, MAX_ITEMS, Waiter};
use failed::{Failed, TokenCheck};

/// Vault answers a batch in a few milliseconds. One that takes longer than this waits for something
/// else, and must not hold up the next.
const SLOW_AFTER: Duration = Duration::from_millis(100);

/// Tells batches apart.
pub(super) type BatchId = u64;

/// What leaves in one request: items of one key, sent with one token.
#[derive(Debug)]
pub(super) struct Batch<O> {
    pub(super) id: BatchId,
    pub(super) items: Vec<O>,
    pub(super) key: Arc<TransitKey>,
    pub(super) session: Arc<Session>,
    /// The latest deadline of its callers.
    pub(super) deadline: Instant,
    pub(super) callers: Callers,
}

/// What waits, and what is in flight.
pub(super) struct Queue<O: Operation> {
    waiting: VecDeque<Entry<O>>,
    in_flight: HashMap<BatchId, InFlight<O>>,
    failed: Failed<O>,
    /// How many of the batches in flight count.
    counted: usize,
    limit: Limit,
    last_id: BatchId,
    /// When [`Self::expire`] has something to do at the earliest.
    wake: Option<Instant>,
    /// Of the server that is asked, for errors.
    address: String,
}

struct InFlight<O: Operation> {
    entries: Vec<Entry<O>>,
    session: Arc<Session>,
    sent: Instant,
    counts: bool,
    /// Whether no other batch has been in flight since it left.
    is_alone: bool,
    /// Whether no further batch could leave after it.
    was_at_limit: bool,
}

impl<O: Operation> Queue<O> {
    /// At most `max_in_flight` batches count as in flight at a time; without it, as many as the
    /// distance to the server suggests.
    pub(super) fn new(max_in_flight: Option<usize>, address: String) -> Self {
        Self {
            waiting: VecDeque::new(),
            in_flight: HashMap::new(),
            failed: Failed::default(),
            counted: 0,
            limit: Limit::new(max_in_flight),
            last_id: 0,
            wake: None,
            address,
        }
    }

    /// Whether something waits that could leave with a session.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When [`Self::expire`] has to be called at the latest.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.wake
    }

    /// Adds a call, or lets it share an equal one that waits or is in flight.
    pub(super) fn push(&mut self, request: Request<O>) {
        let Request {
            operation,
            key,
            deadline,
            policy,
            parent,
            completion,
        } = request;
        self.wake_at(deadline);
        let waiter = Waiter {
            deadline,
            policy,
            parent,
            completion,
        };
        if let Some(entry) = self.find_shared(&operation, &key) {
            entry.waiters.push(waiter);
            return;
        }
        self.waiting.push_back(Entry {
            operation,
            key,
            waiters: vec![waiter],
            max_items: MAX_ITEMS,
            failures: 0,
            first_rejected: None,
            last_error: None,
        });
    }

    fn find_shared(&mut self, operation: &O, key: &Arc<TransitKey>) -> Option<&mut Entry<O>> {
        if !O::IS_SHARED {
            return None;
        }
        let sent = self.in_flight.values_mut().flat_map(|it| &mut it.entries);
        let mut entries = self.waiting.iter_mut().chain(sent);
        entries.find(|it| it.is_same(operation, key))
    }

    /// What may leave now with this session: all that waits for the key of the first, in order.
    pub(super) fn next(&mut self, session: &Arc<Session>, now: Instant) -> Option<Batch<O>> {
        if self.counted >= self.limit.current() {
            return None;
        }
        let mut builder = Builder::default();
        let mut rest = VecDeque::new();
        for mut entry in self.waiting.drain(..) {
            let waiters = &mut entry.waiters;
            waiters.retain(|waiter| !waiter.completion.is_abandoned());
            if waiters.is_empty() {
                continue;
            }
            // Callers whose deadline has come are answered by `expire`.
            let is_expired = entry.waiters.iter().all(|waiter| waiter.deadline <= now);
            if !is_expired && builder.can_take(&entry) {
                builder.add(entry);
            } else {
                rest.push_back(entry);
            }
        }
        self.waiting = rest;
        self.send(builder.entries, session, now)
    }

    fn send(
        &mut self,
        entries: Vec<Entry<O>>,
        session: &Arc<Session>,
        now: Instant,
    ) -> Option<Batch<O>> {
        let waiters = entries.iter().flat_map(|entry| &entry.waiters);
        let callers = waiters.clone().map(|waiter| &waiter.parent).collect();
        let deadline = waiters.map(|waiter| waiter.deadline).max()?;
        let key = entries.first()?.key.clone();
        let items = entries.iter().map(|it| it.operation.clone()).collect();
        self.last_id += 1;
        self.counted += 1;
        self.wake_at(now + SLOW_AFTER);
        for other in self.in_flight.values_mut() {
            other.is_alone = false;
        }
        let in_flight = InFlight {
            entries,
            session: session.clone(),
            sent: now,
            counts: true,
            is_alone: self.in_flight.is_empty(),
            was_at_limit: self.counted >= self.limit.current(),
        };
        self.in_flight.insert(self.last_id, in_flight);
        Some(Batch {
            id: self.last_id,
            items,
            key,
            session: session.clone(),
            deadline,
            callers,
        })
    }

    /// A batch came back: completes its calls, and puts what is to be retried at the end of the
    /// queue. Returns the token to check, if it was rejected and is not being checked already.
    pub(super) fn returned(
        &mut self,
        id: BatchId,
        outcome: Result<Outcomes<O::Output>, CallError>,
        now: Instant,
        random: f64,
    ) -> Option<TokenCheck> {
        let batch = self.in_flight.remove(&id)?;
        if batch.counts {
            self.counted -= 1;
        }
        self.limit.record(Sample {
            took: now.saturating_duration_since(batch.sent),
            was_alone: batch.is_alone,
            was_at_limit: batch.was_at_limit,
            has_failed: outcome.as_ref().is_err_and(CallError::is_transient),
        });
        let has_company = batch.entries.len() > 1;
        let failed = match outcome {
            Ok(outcomes) => self.complete_items(batch.entries, outcomes, has_company),
            Err(error) if has_company && speaks_of_batch(&error) => {
                let half = batch.entries.len().div_ceil(2);
                self.requeue(batch.entries, half);
                return None;
            }
            Err(error) => {
                let failed = batch.entries.into_iter();
                failed.map(|entry| (entry, error.clone())).collect()
            }
        };
        let check = self.failed.add(failed, &batch.session, now, random);
        self.wake_for_backoff();
        check
    }

    /// Completes what succeeded. Returns what failed.
    fn complete_items(
        &mut self,
        entries: Vec<Entry<O>>,
        outcomes: Outcomes<O::Output>,
        has_company: bool,
    ) -> Vec<(Entry<O>, CallError)> {
        let mut failed = Vec::new();
        // The client has checked that there is one outcome for each item.
        for (entry, outcome) in entries.into_iter().zip(outcomes) {
            match outcome {
                Ok(output) => entry.complete(Ok(output)),
                // The HTTP status is the batch's: alone, the item would perhaps have another one.
                Err(error) if has_company && error.api_error() == Some(ApiErrorKind::Other) => {
                    self.requeue(vec![entry], 1);
                }
                Err(error) => failed.push((entry, error)),
            }
        }
        failed
    }

    /// Puts entries at the end of the queue, to leave in batches of at most `max_items`.
    fn requeue(&mut self, entries: Vec<Entry<O>>, max_items: usize) {
        for mut entry in entries {
            entry.max_items = entry.max_items.min(max_items);
            self.enqueue(entry);
        }
    }

    /// Puts an entry at the end of the queue, or joins it with an equal one that waits there.
    fn enqueue(&mut self, entry: Entry<O>) {
        let mut waiting = self.waiting.iter_mut();
        match waiting.find(|it| O::IS_SHARED && it.is_same(&entry.operation, &entry.key)) {
            Some(equal) => equal.join(entry),
            None => self.waiting.push_back(entry),
        }
    }

    /// Vault said whether a rejected token is still valid.
    pub(super) fn token_checked(
        &mut self,
        generation: u64,
        status: TokenStatus,
        now: Instant,
        random: f64,
    ) {
        let retried = self.failed.token_checked(generation, status, now, random);
        self.requeue(retried, MAX_ITEMS);
        self.wake_for_backoff();
    }

    /// Does what is due: ends backoffs, answers callers whose deadline has come, and stops counting
    /// slow batches. `no_session` is the reason why nothing can be sent, if so.
    pub(super) fn expire(&mut self, now: Instant, no_session: impl Fn() -> Option<Error>) {
        let retried = self.failed.end_backoffs(now);
        self.requeue(retried, MAX_ITEMS);
        let timed_out = |entry: &Entry<O>| {
            Error::Call(entry.unanswered(CallError::TimedOut {
                path: entry.key.path(O::NAME),
                address: self.address.clone(),
            }))
        };
        for entry in self.waiting.iter_mut().chain(self.failed.delayed_mut()) {
            let last = entry
                .last_error
                .clone()
                .map(|error| match error.api_error() {
                    Some(ApiErrorKind::TokenRefused) => Error::TokenUnverified(error),
                    _ => Error::Call(error),
                });
            let reason = no_session().or(last).unwrap_or_else(|| timed_out(entry));
            entry.complete_where(|it| it.deadline <= now, || reason.clone());
        }
        for batch in self.in_flight.values_mut() {
            for entry in &mut batch.entries {
                let reason = timed_out(entry);
                entry.complete_where(|it| it.deadline <= now, || reason.clone());
            }
            if batch.counts && now >= batch.sent + SLOW_AFTER {
                batch.counts = false;
                self.counted -= 1;
            }
        }
        for entry in self.failed.unverified_mut() {
            let last = entry.last_error.clone().map(Error::TokenUnverified);
            let reason = last.unwrap_or_else(|| timed_out(entry));
            entry.complete_where(|it| it.deadline <= now, || reason.clone());
        }
        self.wake = self.next_wake();
    }

    fn next_wake(&self) -> Option<Instant> {
        let sent = self.in_flight.values().flat_map(|it| &it.entries);
        let entries = self.waiting.iter().chain(sent).chain(self.failed.entries());
        let waiters = entries.flat_map(|entry| &entry.waiters);
        let deadlines = waiters.map(|waiter| waiter.deadline);
        let counted = self.in_flight.values().filter(|batch| batch.counts);
        let slow = counted.map(|batch| batch.sent + SLOW_AFTER);
        let backoff = self.failed.next_backoff();
        deadlines.chain(slow).chain(backoff).min()
    }

    fn wake_for_backoff(&mut self) {
        if let Some(at) = self.failed.next_backoff() {
            self.wake_at(at);
        }
    }

    fn wake_at(&mut self, at: Instant) {
        self.wake = self.wake.into_iter().chain([at]).min();
    }
}

/// Whether a failure of several items speaks of the request that carried them, of its form or its
/// size, and not of an item or of the server's state.
fn speaks_of_batch(error: &CallError) -> bool {
    match error {
        CallError::Api { kind, .. } => *kind == ApiErrorKind::Other,
        CallError::UnexpectedResponse { status, .. } => matches!(status, 400 | 413),
        CallError::Unreachable { .. } | CallError::TimedOut { .. } => false,
    }
}

#[cfg(test)]
mod tests;
