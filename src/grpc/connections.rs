//! The living connections: how many there may be, and how they are drained.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tracing::debug;

use super::call::{Budgets, Tally};
use super::http2;
use super::peers::{AllowedPeers, Peer, Refusals};
use super::places::{Idle, PlaceId, Places};
use crate::telemetry::LogThrottle;
use crate::telemetry::events;
use crate::telemetry::metrics::Metrics;

/// A control-plane node has a handful; more is a mistake or an attack.
pub(super) const MAX_CONNECTIONS: usize = 256;
/// Whoever finds no place tries again and again.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// All connections of the process. A clone is another handle on the same.
#[derive(Debug, Clone)]
pub struct Connections(Arc<All>);

#[derive(Debug)]
struct All {
    tasks: TaskTracker,
    places: Mutex<Places<Kept>>,
    drain: CancellationToken,
    refusals: Refusals,
    metrics: Metrics,
    /// No place for a newcomer.
    closed: LogThrottle,
    /// A place that was taken away.
    evicted: LogThrottle,
}

/// What is kept of a connection.
#[derive(Debug, Clone)]
struct Kept {
    tally: Arc<Tally>,
    evict: CancellationToken,
}

/// Held by a connection.
struct Place {
    all: Arc<All>,
    id: PlaceId,
}

impl Idle for Kept {
    type Measure = <Tally as Idle>::Measure;

    fn idle(&self) -> Self::Measure {
        self.tally.idle()
    }
}

impl Connections {
    /// None yet. What becomes of those that come is counted in `metrics`.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self(Arc::new(All {
            tasks: TaskTracker::new(),
            places: Mutex::new(Places::new(MAX_CONNECTIONS)),
            drain: CancellationToken::new(),
            refusals: Refusals::default(),
            metrics,
            closed: LogThrottle::new(LINE_EVERY),
            evicted: LogThrottle::new(LINE_EVERY),
        }))
    }

    /// Serves a connection in a task of its own; closes it at once where its peer is not allowed or
    /// there are too many.
    pub(super) fn serve(
        &self,
        stream: UnixStream,
        allowed: &AllowedPeers,
        budgets: &Budgets,
        services: &Routes,
    ) {
        let peer = Peer::of(&stream);
        match peer.filter(|&peer| allowed.admit(peer)) {
            Some(peer) => self.admit(stream, peer, Tally::new(budgets), services.clone()),
            None => {
                self.0.metrics.peer_refused();
                self.0.refusals.tell(peer);
            }
        }
    }

    fn admit(&self, stream: UnixStream, peer: Peer, tally: Arc<Tally>, services: Routes) {
        let evict = CancellationToken::new();
        let kept = Kept {
            tally: tally.clone(),
            evict: evict.clone(),
        };
        let granted = self.0.places().grant(peer, kept);
        let Some(granted) = granted else {
            return self.0.tell_of_closed(peer);
        };
        if let Some((greedy, kept)) = granted.evicted {
            kept.evict.cancel();
            self.0.tell_of_evicted(greedy);
        }
        let place = Place {
            all: self.0.clone(),
            id: granted.id,
        };
        let neighbours = self.count();
        self.0.tasks.spawn(async move {
            let drain = &place.all.drain;
            let connection = http2::serve(stream.into_split(), services, tally, neighbours, drain);
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    debug!(%error, "connection ended");
                },
                () = evict.cancelled() => {}
            }
        });
    }

    /// Tells every client to go (GOAWAY) and waits until the calls in flight are answered.
    pub async fn drain(&self) {
        self.0.drain.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Who has them, and how many each.
    #[must_use]
    pub fn peers(&self) -> Vec<(Peer, usize)> {
        self.0.places().peers()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.tasks.len()
    }
}

impl All {
    fn places(&self) -> MutexGuard<'_, Places<Kept>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_of_closed(&self, Peer { pid, uid, gid }: Peer) {
        self.metrics.connection_refused();
        if let Some(suppressed) = self.closed.line() {
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

    fn tell_of_evicted(&self, Peer { pid, uid, gid }: Peer) {
        self.metrics.connection_evicted();
        if let Some(suppressed) = self.evicted.line() {
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

impl Drop for Place {
    /// However the connection's task ends.
    fn drop(&mut self) {
        self.all.places().give_back(self.id);
    }
}
