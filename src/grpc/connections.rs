//! The living connections: their bounds, and how they are drained.

use std::sync::Arc;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tracing::{debug, warn};

use super::authority::Repaired;
use super::traces::Traces;

/// A control-plane node has a handful; more is a mistake or an attack.
const MAX_CONNECTIONS: usize = 256;
/// kube-apiserver queues what goes beyond, inside its deadline.
const MAX_STREAMS: u32 = 64;
/// No message is larger, so a stream never waits for a window.
const WINDOW: u32 = 64 * 1024;

/// All connections of the process. A clone is another handle on the same.
#[derive(Debug, Clone)]
pub struct Connections {
    tasks: TaskTracker,
    free: Arc<Semaphore>,
    drain: CancellationToken,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            tasks: TaskTracker::new(),
            free: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            drain: CancellationToken::new(),
        }
    }
}

impl Connections {
    /// Serves a connection in a task of its own; closes it at once where there are too many.
    pub(super) fn serve(&self, stream: UnixStream, services: Routes) {
        let Ok(permit) = self.free.clone().try_acquire_owned() else {
            warn!(
                limit = MAX_CONNECTIONS,
                "too many connections, closed the newest"
            );
            return;
        };
        let drain = self.drain.clone();
        self.tasks.spawn(async move {
            if let Err(error) = serve_to_the_end(stream, services, drain).await {
                debug!(%error, "connection ended");
            }
            drop(permit);
        });
    }

    /// Tells every client to go (GOAWAY) and waits until the calls in flight are answered.
    pub async fn drain(&self) {
        self.drain.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tasks.len()
    }
}

async fn serve_to_the_end(
    stream: UnixStream,
    services: Routes,
    drain: CancellationToken,
) -> hyper::Result<()> {
    let mut server = http2::Builder::new(TokioExecutor::new());
    server
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(MAX_STREAMS);
    let traces = Traces::default();
    let service = traces.of(services);
    let connection = server.serve_connection(TokioIo::new(Repaired::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = drain.cancelled() => {}
        () = traces.are_old() => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}
