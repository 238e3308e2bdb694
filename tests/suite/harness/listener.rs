//! A loopback listener on a thread of its own, for doubles that speak TCP: it outlives the runtime
//! of one test.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Accepts until it is dropped; the connections end with it.
pub struct Listener {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Listener {
    /// Gives every connection to `serve`.
    pub fn start<F, S>(serve: S) -> Self
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), serve)
    }

    /// The same at another address.
    pub fn start_at<F, S>(address: SocketAddr, serve: S) -> Self
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind(address);
        let listener = listener.unwrap_or_else(|error| panic!("{address}: {error}"));
        let nonblocking = listener.set_nonblocking(true);
        nonblocking.expect("a listener can be made non-blocking");
        let address = listener.local_addr().expect("a listener has an address");
        let (connections, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let served = until(stop.clone(), listener, Arc::clone(&connections), serve);
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(served);
        });
        Self {
            address,
            connections,
            stop,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn until<F, S>(
    stop: CancellationToken,
    listener: std::net::TcpListener,
    count: Arc<AtomicU64>,
    serve: S,
) where
    S: Fn(TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::from_std(listener).expect("a non-blocking listener");
    let mut connections = JoinSet::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else { continue };
        count.fetch_add(1, Ordering::Relaxed);
        connections.spawn(serve(stream));
        while connections.try_join_next().is_some() {}
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, has been printed.
            let _ = thread.join();
        }
    }
}
