//! One HTTP/2 connection to the agent's socket, for one call. Without tonic's own channel, whose
//! reconnecting, balancing and buffers one call per login does not need.

use std::path::Path;
use std::task::{Context, Poll};

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};

use super::proto::spiffe_workload_api_client::SpiffeWorkloadApiClient;

/// A connection, closed when it is dropped.
pub(super) struct Connection {
    sender: SendRequest<Body>,
    /// Drives the connection; aborted with it.
    _driver: JoinSet<hyper::Result<()>>,
}

/// Connects. The error is the message of the system or of HTTP/2.
pub(super) async fn open(socket: &Path) -> Result<Connection, String> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    Ok(Connection {
        sender,
        _driver: driver,
    })
}

impl Connection {
    /// The generated client on this connection.
    pub(super) fn client(self) -> SpiffeWorkloadApiClient<Self> {
        // gRPC clients send this authority for a unix socket; HTTP/2 requires one.
        SpiffeWorkloadApiClient::with_origin(self, Uri::from_static("http://localhost"))
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.sender.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}
