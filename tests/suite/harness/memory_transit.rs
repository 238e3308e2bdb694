//! An in-memory Transit server on loopback that encrypts for real (AES-256-GCM), for what must
//! run with nothing but Rust: the quickstart, the benches, and tests of outages.
//!
//! It returns the same errors as Vault to a KMS plugin, but is much simpler: one mount, one kind of
//! key, one token that may do everything.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "examples and benches include this file too"
)]

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::{Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

// Named, so that the parts are found from a file that includes this one by its path.
#[path = "memory_transit/api.rs"]
mod api;
#[path = "memory_transit/batch.rs"]
mod batch;
#[path = "memory_transit/envelope.rs"]
mod envelope;
#[path = "memory_transit/keys.rs"]
mod keys;
#[path = "memory_transit/settings.rs"]
mod settings;

use api::{Call, State};
use envelope::Answer;

/// The path of the transit mount.
pub const MOUNT: &str = "transit";
/// The key that is there from the start.
pub const KEY: &str = "kms";

/// A running server; its port is closed when this is dropped.
pub struct MemoryTransit {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: Option<JoinHandle<()>>,
}

impl MemoryTransit {
    /// Starts one on a free port, on the runtime of the caller.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::new(KEY)));
        let server = Some(tokio::spawn(serve(listener, Arc::clone(&state))));
        Ok(Self {
            address,
            state,
            server,
        })
    }

    /// `http://127.0.0.1:…`
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The only token it knows.
    pub fn token(&self) -> String {
        lock(&self.state).token.clone()
    }

    /// Adds a version to [`KEY`].
    pub fn rotate(&self) {
        lock(&self.state).rotate(KEY);
    }

    /// An outage: closes the port and all connections. The keys stay.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            // It ends as aborted; awaited, so that the port is closed on return.
            let _ = server.await;
        }
    }

    /// The end of an outage: the same port, the same keys.
    pub async fn resume(&mut self) -> io::Result<()> {
        if self.server.is_none() {
            let listener = TcpListener::bind(self.address).await?;
            self.server = Some(tokio::spawn(serve(listener, Arc::clone(&self.state))));
        }
        Ok(())
    }
}

impl Drop for MemoryTransit {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

/// The connections live in a set of this task: aborting it ends them too.
async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        connections.spawn(serve_connection(stream, Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_connection(stream: TcpStream, state: Arc<Mutex<State>>) {
    // Small answers should leave at once; failing to ask for it is no reason to refuse.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| respond(request, &state));
    // A caller that disconnects does not affect the others.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(
    request: hyper::Request<Incoming>,
    state: &Mutex<State>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let token = head
        .headers
        .get("x-vault-token")
        .and_then(|value| value.to_str().ok());
    // An incomplete body counts as none: the caller is gone.
    let body = axum::body::to_bytes(Body::new(body), usize::MAX)
        .await
        .unwrap_or_default();
    let call = Call {
        method: head.method.as_str(),
        path: head.uri.path().trim_start_matches("/v1/"),
        token,
        body: &body,
    };
    let answer = lock(state).answer(&call);
    Ok(written(answer))
}

fn written(answer: Answer) -> Response<Body> {
    let body = answer
        .body
        .map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
