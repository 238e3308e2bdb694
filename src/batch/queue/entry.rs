//! What waits in a queue: an item with everybody who waits for its outcome.

use std::sync::Arc;

use tokio::time::Instant;

use crate::batch::operation::Operation;
use crate::batch::request::{Completion, Error, RetryPolicy};
use crate::batch::retry::{self, RetryDecision};
use crate::telemetry::spans::Parent;
use crate::vault::{CallError, TransitKey};

/// Transit takes 1,000 strings in a request, two for each item (`vault-api.md` 1.4); far fewer
/// already share what a request costs.
pub(super) const MAX_ITEMS: usize = 128;
/// A seed is 32 bytes; items as large as a message may be must not add up to a body that Vault or a
/// proxy rejects, nor to a response of over 1 MiB.
pub(super) const MAX_BYTES: usize = 384 * 1024;

/// An item.
pub(super) struct Entry<O: Operation> {
    pub(super) operation: O,
    pub(super) key: Arc<TransitKey>,
    pub(super) waiters: Vec<Waiter<O::Output>>,
    /// How many items its next batch may have: halved when a batch failed for its form or size.
    pub(super) max_items: usize,
    pub(super) failures: u32,
    /// When its token was first rejected.
    pub(super) first_rejected: Option<Instant>,
    pub(super) last_error: Option<CallError>,
}

/// Somebody who waits for an outcome.
pub(super) struct Waiter<T> {
    pub(super) deadline: Instant,
    pub(super) policy: RetryPolicy,
    pub(super) parent: Parent,
    pub(super) completion: Box<dyn Completion<T>>,
}

/// A batch that is being put together.
pub(super) struct Builder<O: Operation> {
    pub(super) entries: Vec<Entry<O>>,
    pub(super) bytes: usize,
    pub(super) max_items: usize,
}

impl<O: Operation> Default for Builder<O> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            bytes: 0,
            max_items: MAX_ITEMS,
        }
    }
}

impl<O: Operation> Builder<O> {
    pub(super) fn can_take(&self, entry: &Entry<O>) -> bool {
        let Some(first) = self.entries.first() else {
            return true;
        };
        Arc::ptr_eq(&first.key, &entry.key)
            && self.entries.len() < self.max_items.min(entry.max_items)
            && self.bytes + entry.operation.size() <= MAX_BYTES
    }

    pub(super) fn add(&mut self, entry: Entry<O>) {
        self.bytes += entry.operation.size();
        self.max_items = self.max_items.min(entry.max_items);
        self.entries.push(entry);
    }
}

impl<O: Operation> Entry<O> {
    pub(super) fn is_same(&self, operation: &O, key: &Arc<TransitKey>) -> bool {
        Arc::ptr_eq(&self.key, key) && self.operation.is_same(operation)
    }

    /// Takes over the callers of an equal entry.
    pub(super) fn join(&mut self, other: Self) {
        self.waiters.extend(other.waiters);
        self.max_items = self.max_items.min(other.max_items);
        self.failures = self.failures.max(other.failures);
        self.first_rejected = self.first_rejected.or(other.first_rejected);
        self.last_error = self.last_error.take().or(other.last_error);
    }

    /// The most patient of its callers' policies.
    pub(super) fn policy(&self) -> RetryPolicy {
        let policies = self.waiters.iter().map(|waiter| waiter.policy);
        policies.max().unwrap_or(RetryPolicy::Once)
    }

    /// Remembers the error of its last attempt.
    pub(super) fn failed_with(&mut self, error: CallError) {
        self.last_error = Some(retry::more_telling(self.last_error.take(), error));
    }

    /// Why it has no outcome if its attempt is not answered: what Vault said to the one before.
    pub(super) fn unanswered(&self, timed_out: CallError) -> CallError {
        retry::more_telling(self.last_error.clone(), timed_out)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiters.iter().map(|waiter| waiter.deadline).max()
    }

    pub(super) fn complete(mut self, outcome: Result<O::Output, Error>) {
        let last = self.waiters.pop();
        for waiter in self.waiters {
            let copy = outcome.as_ref().map(O::copy).map_err(Error::clone);
            waiter.completion.complete(copy);
        }
        if let Some(last) = last {
            last.completion.complete(outcome);
        }
    }

    /// Answers those whose policy does not allow a retry after this error.
    pub(super) fn complete_unretried(&mut self, error: &CallError) {
        self.complete_where(
            |waiter| {
                let decision = retry::decide(error, waiter.policy, None, Instant::now());
                decision == RetryDecision::Fail
            },
            || Error::Call(error.clone()),
        );
    }

    /// Answers the waiters for which `is_done` holds with `error`.
    pub(super) fn complete_where(
        &mut self,
        mut is_done: impl FnMut(&Waiter<O::Output>) -> bool,
        error: impl Fn() -> Error,
    ) {
        let mut index = 0;
        while index < self.waiters.len() {
            if is_done(&self.waiters[index]) {
                let waiter = self.waiters.swap_remove(index);
                waiter.completion.complete(Err(error()));
            } else {
                index += 1;
            }
        }
    }
}
