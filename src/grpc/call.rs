//! What a call costs, and what the calls of a connection cost together.
//!
//! Everything that a client sends, or does not fetch, is charged to budgets that all connections
//! share. Does not know what a message contains.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Extensions;
use tokio::time::Instant;
use tonic::Status;

use super::connection_limit::Idleness;
use super::error;
use super::quota::{ConnectionQuota, Permit, Quota};
use crate::keys::ProvenKey;
use crate::telemetry::metrics::{Metrics, Waiting};
use crate::telemetry::spans::CallSpan;

/// The cost of a call without its message: a task, a stream, headers, the request to Vault.
const CALL: usize = 8 * 1024;
/// The cost of a byte of a message: it exists as received, as a field, and in base64 for Vault, and
/// the answer has the same size again.
const BYTE: usize = 4;
/// The cost of an honest call: its headers and its seed, encrypted or not, are below 512 bytes.
const HONEST_CALL: usize = CALL + 512 * BYTE;
/// Enough for two of the largest messages on each connection.
const MIN_MEMORY: usize = 8 * 1024 * 1024;

/// What all connections share.
#[derive(Debug, Clone)]
pub(super) struct Budgets {
    /// Encrypts and Decrypts that wait.
    waiting: Arc<Quota>,
    /// Bytes.
    memory: Arc<Quota>,
    metrics: Metrics,
}

/// What one connection uses of the budgets.
#[derive(Debug)]
pub(super) struct ConnectionState {
    waiting: ConnectionQuota,
    memory: ConnectionQuota,
    /// The number of calls, and when it changed last.
    calls: Mutex<(usize, Instant)>,
    /// What the last Status on it returned.
    announced: Mutex<Option<ProvenKey>>,
    metrics: Metrics,
}

/// A call, from its headers until the answer is taken. Found in a request's extensions.
#[derive(Debug)]
pub(super) struct Call {
    connection: Arc<ConnectionState>,
    memory: Mutex<Permit>,
    pub(super) span: CallSpan,
}

impl Budgets {
    /// For up to `max_waiting` Encrypts and Decrypts that wait, on up to `connections` connections.
    pub(super) fn new(max_waiting: usize, connections: usize, metrics: Metrics) -> Self {
        let memory = MIN_MEMORY.max(max_waiting.saturating_mul(HONEST_CALL));
        Self {
            waiting: Arc::new(Quota::new(max_waiting, connections)),
            memory: Arc::new(Quota::new(memory, connections)),
            metrics,
        }
    }
}

impl ConnectionState {
    /// A connection without calls.
    pub(super) fn new(budgets: &Budgets) -> Arc<Self> {
        Arc::new(Self {
            waiting: budgets.waiting.connection(),
            memory: budgets.memory.connection(),
            calls: Mutex::new((0, Instant::now())),
            announced: Mutex::default(),
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

impl Idleness for ConnectionState {
    /// A connection with calls is less idle than any without.
    type Measure = (bool, Duration);

    fn idleness(&self) -> (bool, Duration) {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        (calls.0 == 0, calls.1.elapsed())
    }
}

impl Call {
    /// Returns `None` if there is no memory for it.
    pub(super) fn begin(connection: &Arc<ConnectionState>, span: CallSpan) -> Option<Arc<Self>> {
        let memory = Mutex::new(connection.memory.acquire(CALL)?);
        connection.count(|calls| calls + 1);
        Some(Arc::new(Self {
            connection: connection.clone(),
            memory,
            span,
        }))
    }

    /// The call that a request belongs to.
    pub(super) fn of(extensions: &Extensions) -> Result<Arc<Self>, Status> {
        let call = extensions.get::<Arc<Self>>().cloned();
        call.ok_or_else(|| Status::internal("the plugin lost a call's extension"))
    }

    /// Counts it among those that wait for Vault until the guards are dropped. Returns `None` if too
    /// many wait.
    pub(super) fn admit(&self) -> Option<(Permit, Waiting)> {
        let permit = self.connection.waiting.acquire(1)?;
        Some((permit, self.connection.metrics.waiting()))
    }

    /// Remembers what Status returns on its connection.
    pub(super) fn announce(&self, key: ProvenKey) {
        *self.announced() = Some(key);
    }

    /// What the last Status on its connection returned.
    pub(super) fn last_announced(&self) -> Option<ProvenKey> {
        self.announced().clone()
    }

    fn announced(&self) -> MutexGuard<'_, Option<ProvenKey>> {
        let announced = self.connection.announced.lock();
        announced.unwrap_or_else(PoisonError::into_inner)
    }

    /// Charges the call for so many bytes of its message.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), Status> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let cost = bytes.saturating_mul(BYTE);
        if self.connection.memory.grow(&mut memory, cost) {
            Ok(())
        } else {
            Err(error::out_of_memory())
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.connection.count(|calls| calls - 1);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::keys::KeyId;
    use crate::vault::{KeyVersion, VersionStamp};

    fn span() -> CallSpan {
        CallSpan::begin("/another.Service/Method", &HeaderMap::new())
    }

    fn budgets(max_waiting: usize) -> Budgets {
        Budgets::new(max_waiting, 4, Metrics::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_since_its_last_call_ended() {
        let connection = ConnectionState::new(&budgets(100));
        let second = Duration::from_secs(1);
        tokio::time::advance(second).await;
        assert_eq!(connection.idleness(), (true, second));
        let first = Call::begin(&connection, span()).expect("memory");
        let other = Call::begin(&connection, span()).expect("memory");
        tokio::time::advance(second).await;
        assert_eq!(connection.idleness(), (false, second));
        drop(first);
        assert_eq!(connection.idleness(), (false, Duration::ZERO));
        drop(other);
        tokio::time::advance(3 * second).await;
        assert_eq!(connection.idleness(), (true, 3 * second));
    }

    #[test]
    fn a_call_is_charged_for_its_message_until_it_ends() {
        let connection = ConnectionState::new(&budgets(1));
        let calls = || {
            let calls = (0..).map_while(|_| Call::begin(&connection, span()));
            calls.collect::<Vec<_>>()
        };
        let all = calls().len();
        assert!(all > 1 && all * CALL <= MIN_MEMORY, "{all}");
        assert_eq!(calls().len(), all, "what was charged is given back");
        let call = Call::begin(&connection, span()).expect("memory");
        let megabyte = 1 << 20;
        let charged = (0..100)
            .take_while(|_| call.charge(megabyte).is_ok())
            .count();
        assert!(charged <= MIN_MEMORY / BYTE / megabyte, "{charged}");
        let rest = calls().len();
        assert!(
            rest + charged * (megabyte * BYTE / CALL) <= all,
            "{rest} {charged}"
        );
        assert!(call.charge(0).is_ok());
        drop(call);
        assert_eq!(calls().len(), all);
    }

    #[test]
    fn as_many_calls_wait_as_are_allowed_and_each_is_counted() {
        let connection = ConnectionState::new(&budgets(8));
        let call = Call::begin(&connection, span()).expect("memory");
        let waiting: Vec<_> = (0..).map_while(|_| call.admit()).collect();
        assert!((1..=8).contains(&waiting.len()), "{}", waiting.len());
        let count = waiting.len();
        drop(waiting);
        let again = (0..).map_while(|_| call.admit()).collect::<Vec<_>>();
        assert_eq!(again.len(), count);
    }

    #[test]
    fn what_status_returned_is_known_to_all_calls_of_its_connection_alone() {
        let budgets = budgets(8);
        let (connection, other) = (
            ConnectionState::new(&budgets),
            ConnectionState::new(&budgets),
        );
        let call = |of| Call::begin(of, span()).expect("memory");
        let key = ProvenKey {
            key_id: KeyId::from("key".to_owned()),
            stamp: VersionStamp {
                version: KeyVersion::try_new(1).expect("a version"),
                created: 1,
            },
        };
        assert_eq!(call(&connection).last_announced(), None);
        call(&connection).announce(key.clone());
        assert_eq!(call(&connection).last_announced(), Some(key));
        assert_eq!(call(&other).last_announced(), None);
    }

    #[test]
    fn a_request_knows_its_call() {
        let connection = ConnectionState::new(&budgets(8));
        let call = Call::begin(&connection, span()).expect("memory");
        let mut extensions = Extensions::new();
        assert!(Call::of(&extensions).is_err());
        extensions.insert(call.clone());
        let found = Call::of(&extensions).expect("the call");
        assert!(Arc::ptr_eq(&found, &call));
    }
}
