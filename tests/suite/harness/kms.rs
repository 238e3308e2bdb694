//! A client that plays kube-apiserver: KMS v2 and v1 over one connection to the socket.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::{Request, Response, Status};
use tower::Service;
use vault_kms_plugin::grpc::proto::v1beta1::key_management_service_client as v1_client;
use vault_kms_plugin::grpc::proto::v2::key_management_service_client as v2_client;
use vault_kms_plugin::grpc::proto::{v1beta1, v2};

use super::wait;

/// kube-apiserver's own default for a KMS call.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How much longer than it says this client waits for an answer, for a busy machine: most tests are
/// about what the answer says. kube-apiserver does not wait; `outages` has the test of that.
const GRACE: Duration = Duration::from_secs(5);

/// How often a call is sent whose connection was closed before the server began with it.
const MAX_ATTEMPTS: usize = 3;

/// The generated client of KMS v2.
pub type V2 = v2_client::KeyManagementServiceClient<Connection>;
/// The generated client of KMS v1.
pub type V1 = v1_client::KeyManagementServiceClient<Connection>;

/// One connection, made at the first call and made again when it broke.
#[derive(Clone, Debug)]
pub struct KmsClient {
    connection: Connection,
    /// Sent as `grpc-timeout` with each call.
    pub timeout: Duration,
}

impl KmsClient {
    /// A client for a socket path, or for the abstract socket `@name`.
    pub fn connect(socket: impl AsRef<Path>) -> Self {
        Self {
            connection: Connection::to(socket.as_ref()),
            timeout: TIMEOUT,
        }
    }

    /// The same connection with another timeout.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            connection: self.connection.clone(),
            timeout,
        }
    }

    /// The generated client of KMS v2, for what has no method here.
    pub fn v2(&self) -> V2 {
        V2::with_origin(self.connection.clone(), origin())
    }

    /// The generated client of KMS v1.
    pub fn v1(&self) -> V1 {
        V1::with_origin(self.connection.clone(), origin())
    }

    /// `Status` of KMS v2.
    pub async fn status(&self) -> Result<v2::StatusResponse, Status> {
        let send = |request| {
            let mut client = self.v2();
            async move { client.status(request).await }
        };
        self.sent(v2::StatusRequest {}, send).await
    }

    /// `Encrypt` of KMS v2: the ciphertext and its key_id.
    pub async fn encrypt(&self, plaintext: &[u8]) -> Result<(Vec<u8>, String), Status> {
        let answer = self.encrypt_whole(plaintext).await?;
        Ok((answer.ciphertext, answer.key_id))
    }

    /// `Encrypt` of KMS v2: the whole answer.
    pub async fn encrypt_whole(&self, plaintext: &[u8]) -> Result<v2::EncryptResponse, Status> {
        let request = v2::EncryptRequest {
            plaintext: plaintext.to_vec(),
            uid: uid(),
        };
        let send = |request| {
            let mut client = self.v2();
            async move { client.encrypt(request).await }
        };
        self.sent(request, send).await
    }

    /// `Decrypt` of KMS v2.
    pub async fn decrypt(&self, ciphertext: &[u8], key_id: &str) -> Result<Vec<u8>, Status> {
        self.decrypt_whole(ciphertext, key_id, HashMap::new()).await
    }

    /// `Decrypt` of KMS v2 with annotations.
    pub async fn decrypt_whole(
        &self,
        ciphertext: &[u8],
        key_id: &str,
        annotations: HashMap<String, Vec<u8>>,
    ) -> Result<Vec<u8>, Status> {
        let request = v2::DecryptRequest {
            ciphertext: ciphertext.to_vec(),
            uid: uid(),
            key_id: key_id.to_owned(),
            annotations,
        };
        let send = |request| {
            let mut client = self.v2();
            async move { client.decrypt(request).await }
        };
        Ok(self.sent(request, send).await?.plaintext)
    }

    /// `Version` of KMS v1.
    pub async fn version_v1(&self) -> Result<v1beta1::VersionResponse, Status> {
        let request = v1beta1::VersionRequest {
            version: version_v1(),
        };
        let send = |request| {
            let mut client = self.v1();
            async move { client.version(request).await }
        };
        self.sent(request, send).await
    }

    /// `Encrypt` of KMS v1.
    pub async fn encrypt_v1(&self, plaintext: &[u8]) -> Result<Vec<u8>, Status> {
        let request = v1beta1::EncryptRequest {
            version: version_v1(),
            plain: plaintext.to_vec(),
        };
        let send = |request| {
            let mut client = self.v1();
            async move { client.encrypt(request).await }
        };
        Ok(self.sent(request, send).await?.cipher)
    }

    /// `Decrypt` of KMS v1.
    pub async fn decrypt_v1(&self, ciphertext: &[u8]) -> Result<Vec<u8>, Status> {
        let request = v1beta1::DecryptRequest {
            version: version_v1(),
            cipher: ciphertext.to_vec(),
        };
        let send = |request| {
            let mut client = self.v1();
            async move { client.decrypt(request).await }
        };
        Ok(self.sent(request, send).await?.plain)
    }

    /// Waits until Status says `ok`, and returns that answer.
    pub async fn wait_ok(&self, limit: Duration) -> v2::StatusResponse {
        wait::until("Status says ok", limit, async || {
            self.status()
                .await
                .ok()
                .filter(|status| status.healthz == "ok")
        })
        .await
    }

    async fn sent<M, T, F: Future<Output = Result<Response<T>, Status>>>(
        &self,
        message: M,
        send: impl FnOnce(Request<M>) -> F,
    ) -> Result<T, Status> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        match timeout(self.timeout + GRACE, send(request)).await {
            Ok(outcome) => outcome.map(Response::into_inner),
            Err(_) => Err(Status::cancelled("the client gave up")),
        }
    }
}

/// Only a name: the socket is in the connector.
fn origin() -> Uri {
    Uri::from_static("http://localhost")
}

/// hyper's client over the socket. tonic's own would give up when `grpc-timeout` is over, at the
/// same moment as the daemon has to answer. A call that the daemon never took, because it closed the
/// connection in that moment for being idle, is sent again, as grpc-go does by itself.
#[derive(Clone, Debug)]
pub struct Connection(Client<Connector, Body>);

impl Connection {
    fn to(socket: &Path) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.http2_only(true).pool_idle_timeout(None);
        Self(builder.build(Connector(address_of(socket))))
    }
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let mut attempts = 0;
            loop {
                let body = Body::new(Full::new(body.clone()));
                let request = http::Request::from_parts(parts.clone(), body);
                attempts += 1;
                match client.request(request).await {
                    Err(error) if was_not_taken(&error) && attempts < MAX_ATTEMPTS => {}
                    outcome => return outcome.map_err(status_of),
                }
            }
        })
    }
}

/// Whether the server said, when it closed the connection, that it had not begun with this call; or
/// the connection had ended when the call was to be sent, which h2 calls a broken pipe.
fn was_not_taken(error: &Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let is_graceful = error.reason() == Some(h2::Reason::NO_ERROR);
            return error.is_go_away() && error.is_remote() && is_graceful;
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::BrokenPipe;
        }
        source = error.source();
    }
    false
}

/// Of a call without an answer.
fn status_of(error: Error) -> Status {
    if error.is_connect() {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        return Status::unavailable(cause.unwrap_or_else(|| error.to_string()));
    }
    Status::from_error(Box::new(error))
}

/// Connects to the address of a socket.
#[derive(Clone, Debug)]
struct Connector(PathBuf);

impl Service<Uri> for Connector {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let address = self.0.clone();
        Box::pin(async { Ok(TokioIo::new(UnixStream::connect(address).await?)) })
    }
}

/// tokio takes a leading NUL for an abstract socket.
fn address_of(socket: &Path) -> PathBuf {
    let abstract_name = socket.to_str().and_then(|text| text.strip_prefix('@'));
    abstract_name.map_or_else(
        || socket.to_owned(),
        |name| PathBuf::from(format!("\0{name}")),
    )
}

fn version_v1() -> String {
    "v1beta1".to_owned()
}

/// kube-apiserver sends a fresh one with each call, as text.
fn uid() -> String {
    format!("{:032x}", fastrand::u128(..))
}
