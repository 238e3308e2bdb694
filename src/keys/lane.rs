//! Natural batching, as decisions without I/O: what waits leaves together as soon as a request may
//! go out, and nothing waits for a timer. One lane carries one operation.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::session::Session;
use crate::telemetry::spans::{Callers, Parent};
use crate::vault::{ApiErrorKind, CallError, Outcomes, TransitKey};

/// Transit takes 1,000 strings in a request, two for each item (`vault-api.md` 1.4); far fewer
/// already share what a request costs.
const MOST_ITEMS: usize = 128;
/// A seed is 32 bytes; what is as large as a message may be must not add up to a body that Vault
/// or a proxy refuses, nor to an answer of over 1 MiB.
const MOST_BYTES: usize = 384 * 1024;

/// What a lane carries.
pub(super) trait Load: fmt::Debug + Clone + Send + Sync + 'static {
    /// What Vault makes of it.
    type Made: fmt::Debug + Send + 'static;
    /// About how long it is in a request.
    fn size(&self) -> usize;
    /// Whether one answer serves both: what a Decrypt brings does not depend on who asked.
    fn is_same(&self, other: &Self) -> bool;
    /// A copy for another caller of the same.
    fn copy(made: &Self::Made) -> Self::Made;
}

/// With which key, and as whom.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) key: Arc<TransitKey>,
    pub(super) session: Arc<Session>,
}

/// Who waits for an outcome.
#[derive(Debug)]
pub(super) struct Waiter<T> {
    pub(super) deadline: Instant,
    /// For which call.
    pub(super) parent: Parent,
    pub(super) reply: oneshot::Sender<Result<T, CallError>>,
}

/// One call's wish.
#[derive(Debug)]
pub(super) struct Ask<L: Load> {
    pub(super) load: L,
    pub(super) route: Route,
    pub(super) waiter: Waiter<L::Made>,
}

/// What leaves in one request.
#[derive(Debug)]
pub(super) struct Batch<L> {
    pub(super) id: BatchId,
    pub(super) loads: Vec<L>,
    pub(super) route: Route,
    /// The most patient caller's.
    pub(super) deadline: Instant,
    pub(super) callers: Callers,
}

/// Tells batches apart.
pub(super) type BatchId = u64;

/// What waits and what is out.
#[derive(Debug)]
pub(super) struct Lane<L: Load> {
    waiting: VecDeque<Item<L>>,
    out: HashMap<BatchId, Out<L>>,
    /// How many of those that are out count.
    counted: usize,
    most_out: usize,
    last_id: BatchId,
}

#[derive(Debug)]
struct Item<L: Load> {
    load: L,
    route: Route,
    waiters: Vec<Waiter<L::Made>>,
    /// In company it failed in a way that may not have been its own doing.
    alone: bool,
}

#[derive(Debug)]
struct Out<L: Load> {
    items: Vec<Item<L>>,
    counts: bool,
}

impl<L: Load> Lane<L> {
    /// At most `most_out` batches count as out at a time.
    pub(super) fn new(most_out: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            out: HashMap::new(),
            counted: 0,
            most_out,
            last_id: 0,
        }
    }

    /// Lines a call up, or lets it share what is lined up or out already.
    pub(super) fn push(&mut self, ask: Ask<L>) {
        let sent = self.out.values_mut().flat_map(|out| &mut out.items);
        let mut there = self.waiting.iter_mut().chain(sent);
        match there.find(|item| item.serves(&ask)) {
            Some(item) => item.waiters.push(ask.waiter),
            None => self.waiting.push_back(Item {
                load: ask.load,
                route: ask.route,
                waiters: vec![ask.waiter],
                alone: false,
            }),
        }
    }

    /// What may leave now: all that waits for the same key and session, in the order of arrival.
    pub(super) fn next(&mut self, now: Instant) -> Option<Batch<L>> {
        if self.counted >= self.most_out {
            return None;
        }
        let mut load = Loading::default();
        let mut left = VecDeque::with_capacity(self.waiting.len());
        for mut item in self.waiting.drain(..) {
            item.waiters.retain(|waiter| waiter.is_there(now));
            if item.waiters.is_empty() {
                continue;
            }
            match load.has_room_for(&item) {
                true => load.add(item),
                false => left.push_back(item),
            }
        }
        self.waiting = left;
        self.send(load.items)
    }

    fn send(&mut self, items: Vec<Item<L>>) -> Option<Batch<L>> {
        let waiters = items.iter().flat_map(|item| &item.waiters);
        let callers = waiters.clone().map(|waiter| &waiter.parent).collect();
        let deadline = waiters.map(|waiter| waiter.deadline).max()?;
        let route = items.first()?.route.clone();
        self.last_id += 1;
        self.counted += 1;
        let loads = items.iter().map(|item| item.load.clone()).collect();
        let counts = true;
        self.out.insert(self.last_id, Out { items, counts });
        Some(Batch {
            id: self.last_id,
            loads,
            route,
            deadline,
            callers,
        })
    }

    /// A batch is out for longer than usual: it must not hold up the next.
    pub(super) fn late(&mut self, id: BatchId) {
        if let Some(out) = self.out.get_mut(&id)
            && std::mem::take(&mut out.counts)
        {
            self.counted -= 1;
        }
    }

    /// A batch came back: gives every caller its own outcome. What may have failed for its company
    /// is lined up again, first, to go alone.
    pub(super) fn returned(&mut self, id: BatchId, outcome: Result<Outcomes<L::Made>, CallError>) {
        self.late(id);
        let Some(Out { items, .. }) = self.out.remove(&id) else {
            return;
        };
        let in_company = items.len() > 1;
        // Whoever made the outcomes has seen to it that there is one for each.
        let outcomes = outcome.unwrap_or_else(|error| for_each(&items, &error));
        for (mut item, outcome) in items.into_iter().zip(outcomes) {
            match outcome {
                Err(error) if in_company && may_be_the_companys(&error) => {
                    item.alone = true;
                    self.waiting.push_front(item);
                }
                outcome => item.answer(outcome),
            }
        }
    }
}

fn for_each<T, M>(items: &[T], error: &CallError) -> Outcomes<M> {
    items.iter().map(|_| Err(error.clone())).collect()
}

/// Whether a failure says less of an item than it would say had the item been alone: the status is
/// that of the batch, and a batch can be refused for its form or its length.
fn may_be_the_companys(error: &CallError) -> bool {
    match error {
        CallError::Api { kind, status, .. } => match kind {
            ApiErrorKind::Other => true,
            ApiErrorKind::Transient => *status == 500,
            _ => false,
        },
        CallError::UnexpectedResponse { status, .. } => (400..500).contains(status),
        CallError::Unreachable { .. } | CallError::TimedOut { .. } => false,
    }
}

/// A batch that is being put together.
#[derive(Debug)]
struct Loading<L: Load> {
    items: Vec<Item<L>>,
    bytes: usize,
}

impl<L: Load> Default for Loading<L> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            bytes: 0,
        }
    }
}

impl<L: Load> Loading<L> {
    fn has_room_for(&self, item: &Item<L>) -> bool {
        let Some(first) = self.items.first() else {
            return true;
        };
        !first.alone
            && !item.alone
            && first.route.is_same(&item.route)
            && self.items.len() < MOST_ITEMS
            && self.bytes + item.load.size() <= MOST_BYTES
    }

    fn add(&mut self, item: Item<L>) {
        self.bytes += item.load.size();
        self.items.push(item);
    }
}

impl<L: Load> Item<L> {
    fn serves(&self, ask: &Ask<L>) -> bool {
        self.load.is_same(&ask.load) && self.route.is_same(&ask.route)
    }

    fn answer(mut self, outcome: Result<L::Made, CallError>) {
        let last = self.waiters.pop();
        for waiter in self.waiters {
            let copy = outcome.as_ref().map(L::copy).map_err(CallError::clone);
            let _ = waiter.reply.send(copy);
        }
        if let Some(last) = last {
            let _ = last.reply.send(outcome);
        }
    }
}

impl<T> Waiter<T> {
    fn is_there(&self, now: Instant) -> bool {
        !self.reply.is_closed() && now < self.deadline
    }
}

impl Route {
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.key, &other.key) && self.session.generation == other.session.generation
    }
}

#[cfg(test)]
mod tests;
