//! Failed entries, until they may leave again: when their backoff is over, or when it is known whether
//! their token is still valid.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::Entry;
use crate::batch::operation::Operation;
use crate::batch::request::Error;
use crate::batch::retry::{self, RetryDecision};
use crate::session::{Session, TokenStatus};
use crate::vault::CallError;

/// A token that Vault rejected: is it still valid?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::batch) struct TokenCheck {
    /// The generation of its session.
    pub(in crate::batch) generation: u64,
    /// When the answer has to be there.
    pub(in crate::batch) deadline: Instant,
}

/// The entries.
pub(super) struct Failed<O: Operation> {
    /// Failed batches, until their backoff is over.
    pub(super) delayed: Vec<(Instant, Vec<Entry<O>>)>,
    /// Entries whose token was rejected, by the generation of its session.
    pub(super) unverified: HashMap<u64, Vec<Entry<O>>>,
}

impl<O: Operation> Default for Failed<O> {
    fn default() -> Self {
        Self {
            delayed: Vec::new(),
            unverified: HashMap::new(),
        }
    }
}

impl<O: Operation> Failed<O> {
    /// Takes what failed with the token of this session: completes what is not retried. Returns the
    /// token to check, if it was rejected and is not being checked already.
    pub(super) fn add(
        &mut self,
        failed: Vec<(Entry<O>, CallError)>,
        session: &Session,
        now: Instant,
        random: f64,
    ) -> Option<TokenCheck> {
        let generation = session.generation;
        let is_being_checked = self.unverified.contains_key(&generation);
        let mut retried = Vec::new();
        let mut check = None;
        for (mut entry, error) in failed {
            // Everybody who waited for it was answered at its deadline.
            if entry.waiters.is_empty() {
                continue;
            }
            let policy = entry.policy();
            match retry::decide(&error, policy, entry.first_rejected, session.obtained) {
                RetryDecision::Fail => entry.complete(Err(Error::Call(error))),
                RetryDecision::Backoff => {
                    entry.complete_unretried(&error);
                    entry.failed_with(error);
                    retried.push(entry);
                }
                RetryDecision::CheckToken => {
                    entry.first_rejected.get_or_insert(now);
                    entry.last_error = Some(error);
                    check = check.max(entry.deadline());
                    self.unverified.entry(generation).or_default().push(entry);
                }
            }
        }
        self.delay(retried, Error::Call, now, random);
        check
            .filter(|_| !is_being_checked)
            .map(|deadline| TokenCheck {
                generation,
                deadline,
            })
    }

    /// Vault said whether a rejected token is still valid. Returns what may leave with the next one.
    pub(super) fn token_checked(
        &mut self,
        generation: u64,
        status: TokenStatus,
        now: Instant,
        random: f64,
    ) -> Vec<Entry<O>> {
        let entries = self.unverified.remove(&generation).unwrap_or_default();
        match status {
            TokenStatus::Invalid => return entries,
            TokenStatus::Valid => {
                for mut entry in entries {
                    if let Some(error) = entry.last_error.take() {
                        entry.complete(Err(Error::Call(error)));
                    }
                }
            }
            TokenStatus::Unknown => self.delay(entries, Error::TokenUnverified, now, random),
        }
        Vec::new()
    }

    /// Lets a failed batch wait together. Whoever cannot wait that long is answered.
    fn delay(
        &mut self,
        mut entries: Vec<Entry<O>>,
        as_error: fn(CallError) -> Error,
        now: Instant,
        random: f64,
    ) {
        let mut shortest: Option<Duration> = None;
        for entry in &mut entries {
            entry.failures = entry.failures.saturating_add(1);
            let Some(error) = entry.last_error.clone() else {
                continue;
            };
            let backoff = retry::backoff(&error, entry.failures, random);
            entry.complete_where(
                |waiter| {
                    let asked = error.retry_after();
                    let wait = retry::backoff_within(backoff, asked, now, waiter.deadline);
                    shortest = shortest.into_iter().chain(wait).min();
                    wait.is_none()
                },
                || as_error(error.clone()),
            );
        }
        entries.retain(|entry| !entry.waiters.is_empty());
        if let Some(wait) = shortest {
            self.delayed.push((now + wait, entries));
        }
    }

    /// Takes out what may leave again.
    pub(super) fn end_backoffs(&mut self, now: Instant) -> Vec<Entry<O>> {
        let delayed = std::mem::take(&mut self.delayed).into_iter();
        let (due, later): (Vec<_>, Vec<_>) = delayed.partition(|(at, _)| *at <= now);
        self.delayed = later;
        due.into_iter().flat_map(|(_, entries)| entries).collect()
    }

    /// When the next backoff is over.
    pub(super) fn next_backoff(&self) -> Option<Instant> {
        self.delayed.iter().map(|(at, _)| *at).min()
    }

    /// All entries.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry<O>> {
        let delayed = self.delayed.iter().flat_map(|(_, entries)| entries);
        delayed.chain(self.unverified.values().flatten())
    }

    /// Those that wait for the end of a backoff.
    pub(super) fn delayed_mut(&mut self) -> impl Iterator<Item = &mut Entry<O>> {
        self.delayed.iter_mut().flat_map(|(_, entries)| entries)
    }

    /// Those that wait for the check of a token.
    pub(super) fn unverified_mut(&mut self) -> impl Iterator<Item = &mut Entry<O>> {
        self.unverified.values_mut().flatten()
    }
}
