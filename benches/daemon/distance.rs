//! A wire of a given length between the plugin and Vault: what goes in comes out that much later,
//! in order, at any rate. Counts the requests that pass.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::harness::listener::Listener;

/// How every request to Transit begins.
const REQUEST: &[u8] = b"POST /v1/";

pub(super) struct Distance {
    listener: Listener,
    requests: Arc<AtomicU64>,
}

impl Distance {
    /// Listens in front of `target`; a round trip takes `round_trip`.
    pub(super) fn start(target: SocketAddr, round_trip: Duration) -> Self {
        let requests = Arc::new(AtomicU64::new(0));
        let counted = requests.clone();
        let one_way = round_trip / 2;
        let listener = Listener::start(move |near| {
            let counted = counted.clone();
            async move {
                let Ok(far) = TcpStream::connect(target).await else {
                    return;
                };
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                tokio::join!(
                    carry(near_in, far_out, one_way, Some(&counted)),
                    carry(far_in, near_out, one_way, None),
                );
            }
        });
        Self { listener, requests }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
    requests: Option<&AtomicU64>,
) {
    let (sender, mut waiting) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let reads = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let bytes = buffer[..read].to_vec();
            if let Some(requests) = requests {
                let found = bytes.windows(REQUEST.len()).filter(|it| *it == REQUEST);
                requests.fetch_add(found.count() as u64, Ordering::Relaxed);
            }
            if sender.send((Instant::now() + delay, bytes)).is_err() {
                return;
            }
        }
    };
    let writes = async move {
        while let Some((due, bytes)) = waiting.recv().await {
            if !delay.is_zero() {
                sleep_until(due).await;
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(reads, writes);
}
