//! The open connections: their limit, and how they are drained.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tracing::debug;

use super::call::{Budgets, ConnectionState};
use super::connection_limit::{ConnectionId, ConnectionLimiter, Idleness};
use super::http2;
use super::peers::{AllowedPeers, Peer, Refusals};
use crate::telemetry::SharedLogThrottle;
use crate::telemetry::events;
use crate::telemetry::metrics::Metrics;

/// A control-plane node has a handful; more is a mistake or an attack.
pub(super) const MAX_CONNECTIONS: usize = 256;
/// A client that is turned away tries again and again.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// All connections of the process. A clone is another handle on the same.
#[derive(Debug, Clone)]
pub struct Connections(Arc<All>);

#[derive(Debug)]
struct All {
    tasks: TaskTracker,
    limiter: Mutex<ConnectionLimiter<Entry>>,
    /// Cancelled when the process stops.
    drain: CancellationToken,
    /// Cancelled when the connections so far have to be made again.
    renew: Mutex<CancellationToken>,
    refusals: Refusals,
    metrics: Metrics,
    /// New connections that were closed.
    closed: SharedLogThrottle,
    /// Connections that were closed for new ones.
    evicted: SharedLogThrottle,
}

/// What is kept for each connection.
#[derive(Debug, Clone)]
struct Entry {
    connection: Arc<ConnectionState>,
    evict: CancellationToken,
    /// Whether only the mode of the socket admitted it.
    by_mode: bool,
}

/// Releases the connection when dropped.
struct Slot {
    all: Arc<All>,
    id: ConnectionId,
}

impl Idleness for Entry {
    type Measure = <ConnectionState as Idleness>::Measure;

    fn idleness(&self) -> Self::Measure {
        self.connection.idleness()
    }
}

impl Connections {
    /// No connection yet. Those that come are counted in `metrics`.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        let drain = CancellationToken::new();
        Self(Arc::new(All {
            tasks: TaskTracker::new(),
            limiter: Mutex::new(ConnectionLimiter::new(MAX_CONNECTIONS)),
            renew: Mutex::new(drain.child_token()),
            drain,
            refusals: Refusals::default(),
            metrics,
            closed: SharedLogThrottle::new(LINE_INTERVAL),
            evicted: SharedLogThrottle::new(LINE_INTERVAL),
        }))
    }

    /// Serves a connection in a task of its own. Closes it at once if its peer is not allowed or there
    /// are too many. `by_mode`: whether the mode of the socket admits whoever could connect.
    pub(super) fn serve(
        &self,
        stream: UnixStream,
        allowed: &AllowedPeers,
        by_mode: bool,
        budgets: &Budgets,
        services: &Routes,
    ) {
        let peer = Peer::of(&stream);
        let listed = peer.is_some_and(|peer| allowed.admit(peer));
        match peer.filter(|_| listed || by_mode) {
            Some(peer) => {
                let entry = Entry {
                    connection: ConnectionState::new(budgets),
                    evict: CancellationToken::new(),
                    by_mode: !listed,
                };
                self.admit(stream, peer, entry, services.clone());
            }
            None => {
                self.0.metrics.peer_refused();
                self.0.refusals.report(peer);
            }
        }
    }

    fn admit(&self, stream: UnixStream, peer: Peer, entry: Entry, services: Routes) {
        let Entry {
            connection, evict, ..
        } = entry.clone();
        let admitted = self.0.limiter().acquire(peer, entry);
        let Some(admitted) = admitted else {
            return self.0.report_closed(peer);
        };
        if let Some((evicted_peer, entry)) = admitted.evicted {
            entry.evict.cancel();
            self.0.report_evicted(evicted_peer);
        }
        let slot = Slot {
            all: self.0.clone(),
            id: admitted.id,
        };
        let connections = self.count();
        let drain = self.0.renew().clone();
        self.0.tasks.spawn(async move {
            let _slot = slot;
            let connection = http2::serve(
                stream.into_split(),
                services,
                connection,
                connections,
                &drain,
            );
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    debug!(%error, "connection ended");
                },
                () = evict.cancelled() => {}
            }
        });
    }

    /// Closes at once the connections of peers that may not connect any more. `by_mode`: whether the mode of
    /// the socket still admits those that it admitted.
    pub fn enforce(&self, allowed: &AllowedPeers, by_mode: bool) {
        let is_allowed =
            |peer: Peer, entry: &Entry| allowed.admit(peer) || (entry.by_mode && by_mode);
        let closed = self
            .0
            .limiter()
            .remove_where(|peer, entry| !is_allowed(peer, entry));
        for entry in &closed {
            entry.evict.cancel();
        }
        if !closed.is_empty() {
            events::PeersDisconnected {
                count: closed.len(),
            }
            .emit();
        }
    }

    /// Sends every client a GOAWAY: it connects again, while its calls in flight are answered, and the
    /// new connection has the limits of now.
    pub fn renew(&self) {
        let next = self.0.drain.child_token();
        std::mem::replace(&mut *self.0.renew(), next).cancel();
    }

    /// Sends every client a GOAWAY and waits until the calls in flight are answered.
    pub async fn drain(&self) {
        self.0.drain.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// The peers, and how many connections each has.
    #[must_use]
    pub fn peers(&self) -> Vec<(Peer, usize)> {
        self.0.limiter().peers()
    }

    /// The number of open connections.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.tasks.len()
    }
}

impl All {
    fn limiter(&self) -> MutexGuard<'_, ConnectionLimiter<Entry>> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renew(&self) -> MutexGuard<'_, CancellationToken> {
        self.renew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report_closed(&self, Peer { pid, uid, gid }: Peer) {
        self.metrics.connection_refused();
        if let Some(suppressed) = self.closed.allow() {
            events::TooManyConnections {
                limit: MAX_CONNECTIONS,
                pid,
                uid,
                gid,
                suppressed,
            }
            .emit();
        }
    }

    fn report_evicted(&self, Peer { pid, uid, gid }: Peer) {
        self.metrics.connection_evicted();
        if let Some(suppressed) = self.evicted.allow() {
            events::ConnectionEvicted {
                limit: MAX_CONNECTIONS,
                pid,
                uid,
                gid,
                suppressed,
            }
            .emit();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.all.limiter().release(self.id);
    }
}
