//! One HTTP/2 connection over a unix socket, for a generated client and a few calls. Without tonic's own
//! channel, whose reconnecting, balancing and buffers they do not need.

use std::fmt;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};

/// What gRPC clients send as the origin for a unix socket; HTTP/2 requires one.
pub const ORIGIN: &str = "http://localhost";

/// A connection, closed when it is dropped.
pub struct Connection {
    sender: SendRequest<Body>,
    /// Drives the connection; aborted with it.
    _driver: JoinSet<hyper::Result<()>>,
}

impl Connection {
    /// Begins HTTP/2 on this stream.
    ///
    /// # Errors
    /// If it breaks.
    pub async fn over(stream: UnixStream) -> hyper::Result<Self> {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok(Self {
            sender,
            _driver: driver,
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
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
