//! The client's side of KMS v2: what kube-apiserver asks, for `check --running`.

use std::time::Duration;

use http::Uri;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::{Request, Status};

use super::proto::v2::key_management_service_client::KeyManagementServiceClient;
use super::proto::v2::{
    DecryptRequest, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use crate::system::grpc_connection::{Connection, ORIGIN};

/// A client on a connection of its own: what it does changes nothing for another one.
#[derive(Debug)]
pub struct KmsClient {
    service: KeyManagementServiceClient<Connection>,
    timeout: Duration,
}

impl KmsClient {
    /// Begins on this stream; each call has so much time.
    ///
    /// # Errors
    /// If the other end closes it, or does not speak HTTP/2.
    pub async fn over(stream: UnixStream, timeout: Duration) -> hyper::Result<Self> {
        let connection = Connection::over(stream).await?;
        let origin = Uri::from_static(ORIGIN);
        Ok(Self {
            service: KeyManagementServiceClient::with_origin(connection, origin),
            timeout,
        })
    }

    /// What the plugin can do now.
    ///
    /// # Errors
    /// As the plugin answers.
    pub async fn status(&mut self) -> Result<StatusResponse, Status> {
        let request = self.request(StatusRequest {});
        let response = in_time(self.timeout, self.service.status(request)).await?;
        Ok(response.into_inner())
    }

    /// Encrypts.
    ///
    /// # Errors
    /// As the plugin answers.
    pub async fn encrypt(&mut self, plaintext: &[u8]) -> Result<EncryptResponse, Status> {
        let request = self.request(EncryptRequest {
            plaintext: plaintext.to_vec(),
            uid: UID.to_owned(),
        });
        let response = in_time(self.timeout, self.service.encrypt(request)).await?;
        Ok(response.into_inner())
    }

    /// Decrypts what [`Self::encrypt`] returned.
    ///
    /// # Errors
    /// As the plugin answers.
    pub async fn decrypt(&mut self, encrypted: EncryptResponse) -> Result<Vec<u8>, Status> {
        let request = self.request(DecryptRequest {
            ciphertext: encrypted.ciphertext,
            uid: UID.to_owned(),
            key_id: encrypted.key_id,
            annotations: encrypted.annotations,
        });
        let response = in_time(self.timeout, self.service.decrypt(request)).await?;
        Ok(response.into_inner().plaintext)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }
}

/// The header `grpc-timeout` is a wish: a process that hangs does not read it.
async fn in_time<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let answer = timeout(limit, call).await;
    answer.unwrap_or_else(|_| {
        Err(Status::deadline_exceeded(format!(
            "no answer within {limit:?}"
        )))
    })
}

/// The log of the plugin shows it beside a call that failed.
const UID: &str = "check";
