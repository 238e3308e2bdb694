//! A client that plays kube-apiserver: KMS v2 and v1 over one connection to the socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use vault_kms_plugin::grpc::proto::v1beta1::key_management_service_client as v1_client;
use vault_kms_plugin::grpc::proto::v2::key_management_service_client as v2_client;
use vault_kms_plugin::grpc::proto::{v1beta1, v2};

use super::wait;

/// kube-apiserver's own default for a KMS call.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The generated client of KMS v2.
pub type V2 = v2_client::KeyManagementServiceClient<Channel>;
/// The generated client of KMS v1.
pub type V1 = v1_client::KeyManagementServiceClient<Channel>;

/// One connection, made at the first call and made again when it broke.
#[derive(Clone, Debug)]
pub struct KmsClient {
    channel: Channel,
    /// Sent as `grpc-timeout` with each call.
    pub timeout: Duration,
}

impl KmsClient {
    /// A client for a socket path, or for the abstract socket `@name`.
    pub fn connect(socket: impl AsRef<Path>) -> Self {
        let address = address_of(socket.as_ref());
        let connector = tower::service_fn(move |_| {
            let address = address.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(address).await?)) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        Self {
            channel: endpoint.connect_with_connector_lazy(connector),
            timeout: TIMEOUT,
        }
    }

    /// The same connection with another timeout.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            channel: self.channel.clone(),
            timeout,
        }
    }

    /// The generated client of KMS v2, for what has no method here.
    pub fn v2(&self) -> V2 {
        V2::new(self.channel.clone())
    }

    /// The generated client of KMS v1.
    pub fn v1(&self) -> V1 {
        V1::new(self.channel.clone())
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
        let request = v2::EncryptRequest {
            plaintext: plaintext.to_vec(),
            uid: uid(),
        };
        let send = |request| {
            let mut client = self.v2();
            async move { client.encrypt(request).await }
        };
        let answer = self.sent(request, send).await?;
        Ok((answer.ciphertext, answer.key_id))
    }

    /// `Decrypt` of KMS v2.
    pub async fn decrypt(&self, ciphertext: &[u8], key_id: &str) -> Result<Vec<u8>, Status> {
        let request = v2::DecryptRequest {
            ciphertext: ciphertext.to_vec(),
            uid: uid(),
            key_id: key_id.to_owned(),
            ..Default::default()
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

    /// A call that never left, because its connection was closed in that moment for being idle, is
    /// sent once more, as grpc-go does by itself. Any other failure is one.
    async fn sent<M: Clone, T, F: Future<Output = Result<Response<T>, Status>>>(
        &self,
        message: M,
        send: impl Fn(Request<M>) -> F,
    ) -> Result<T, Status> {
        let outcome = match send(self.timed(message.clone())).await {
            Err(error) if never_left(&error) => send(self.timed(message)).await,
            outcome => outcome,
        };
        outcome.map(Response::into_inner)
    }

    fn timed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
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

/// What hyper says of a request that was still with it when the connection ended.
fn never_left(error: &Status) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let of_hyper = error.downcast_ref::<hyper::Error>();
        if of_hyper.is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// kube-apiserver sends a fresh one with each call, as text.
fn uid() -> String {
    format!("{:032x}", fastrand::u128(..))
}
