//! What a call costs, and what a connection's calls cost together.
//!
//! Everything that a client sends, or does not fetch, is paid from budgets that all connections
//! share. Knows nothing of what is in a message.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Extensions;
use tokio::time::Instant;
use tonic::Status;

use super::places::Idle;
use super::share::{Pool, Share, Taken};
use super::status;
use crate::telemetry::metrics::{Metrics, Waiting};
use crate::telemetry::spans::CallSpan;

/// What a call costs without its message: a task, a stream, headers, the request to Vault.
const CALL: usize = 8 * 1024;
/// What a byte of a message costs: it is there as it came, as a field, and in base64 for Vault, and
/// the answer is of that size again.
const BYTE: usize = 4;
/// What an honest call costs: its headers and its seed, wrapped or not, are below 512 bytes.
const HONEST_CALL: usize = CALL + 512 * BYTE;
/// Enough for two of the largest messages on a connection of its own.
const MEMORY_LEAST: usize = 8 * 1024 * 1024;

/// What all connections share.
#[derive(Debug, Clone)]
pub(super) struct Budgets {
    /// Encrypts and Decrypts that wait.
    waiting: Arc<Pool>,
    /// Bytes.
    memory: Arc<Pool>,
    metrics: Metrics,
}

/// What one connection has of that.
#[derive(Debug)]
pub(super) struct Tally {
    waiting: Share,
    memory: Share,
    /// How many calls there are, and when that last changed.
    calls: Mutex<(usize, Instant)>,
    metrics: Metrics,
}

/// A call, from its headers on until the answer is taken. Found in a request's extensions.
#[derive(Debug)]
pub(super) struct Call {
    tally: Arc<Tally>,
    memory: Mutex<Taken>,
    pub(super) span: CallSpan,
}

impl Budgets {
    /// For so many Encrypts and Decrypts that may wait, on so many connections.
    pub(super) fn new(max_waiting: usize, connections: usize, metrics: Metrics) -> Self {
        let memory = MEMORY_LEAST.max(max_waiting.saturating_mul(HONEST_CALL));
        Self {
            waiting: Arc::new(Pool::new(max_waiting, connections)),
            memory: Arc::new(Pool::new(memory, connections)),
            metrics,
        }
    }
}

impl Tally {
    /// A connection without calls.
    pub(super) fn new(budgets: &Budgets) -> Arc<Self> {
        Arc::new(Self {
            waiting: Share::of(budgets.waiting.clone()),
            memory: Share::of(budgets.memory.clone()),
            calls: Mutex::new((0, Instant::now())),
            metrics: budgets.metrics.clone(),
        })
    }

    /// Where its calls are counted.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn count(&self, change: impl Fn(usize) -> usize) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls = (change(calls.0), Instant::now());
    }
}

impl Idle for Tally {
    /// One with calls is less idle than any without.
    type Measure = (bool, Duration);

    fn idle(&self) -> (bool, Duration) {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        (calls.0 == 0, calls.1.elapsed())
    }
}

impl Call {
    /// Nothing where there is no memory for it.
    pub(super) fn begin(tally: &Arc<Tally>, span: CallSpan) -> Option<Arc<Self>> {
        let memory = Mutex::new(tally.memory.take(CALL)?);
        tally.count(|calls| calls + 1);
        let tally = tally.clone();
        Some(Arc::new(Self {
            tally,
            memory,
            span,
        }))
    }

    /// The call that a request belongs to.
    pub(super) fn of(extensions: &Extensions) -> Result<Arc<Self>, Status> {
        let call = extensions.get::<Arc<Self>>().cloned();
        call.ok_or_else(|| Status::internal("the plugin lost sight of a call"))
    }

    /// Counts it among those that wait for Vault until that is dropped; nothing where there are too
    /// many.
    pub(super) fn wait(&self) -> Option<(Taken, Waiting)> {
        let taken = self.tally.waiting.take(1)?;
        Some((taken, self.tally.metrics.waiting()))
    }

    /// Pays for so many bytes of its message.
    pub(super) fn pay(&self, bytes: usize) -> Result<(), Status> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        match memory.more(bytes.saturating_mul(BYTE)) {
            true => Ok(()),
            false => Err(status::too_much_at_once()),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.tally.count(|calls| calls - 1);
    }
}
