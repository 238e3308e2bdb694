//! A lean gRPC client over the h2 crate, so that what is measured is the server's end: messages are
//! made beforehand, and of an answer no more is read than its message and its status.

use std::path::Path;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request};
use h2::client::{self, SendRequest};
use prost::Message;
use tokio::net::UnixStream;
use vault_kms_plugin::grpc::proto::v2;

/// A message on the wire begins with a flag and its length (gRPC over HTTP/2).
const PREFIX: usize = 5;

/// One connection, which carries many calls.
#[derive(Clone)]
pub(super) struct Connection(SendRequest<Bytes>);

/// A call with its message.
#[derive(Clone)]
pub(super) struct Prepared {
    path: &'static str,
    body: Bytes,
}

impl Prepared {
    pub(super) fn status() -> Self {
        Self::new("Status", &v2::StatusRequest {})
    }

    pub(super) fn encrypt(plaintext: &[u8]) -> Self {
        let (plaintext, uid) = (plaintext.to_vec(), uid());
        Self::new("Encrypt", &v2::EncryptRequest { plaintext, uid })
    }

    pub(super) fn decrypt(ciphertext: &[u8], key_id: &str) -> Self {
        let request = v2::DecryptRequest {
            ciphertext: ciphertext.to_vec(),
            uid: uid(),
            key_id: key_id.to_owned(),
            ..Default::default()
        };
        Self::new("Decrypt", &request)
    }

    fn new(method: &'static str, message: &impl Message) -> Self {
        let path = match method {
            "Status" => "/v2.KeyManagementService/Status",
            "Encrypt" => "/v2.KeyManagementService/Encrypt",
            _ => "/v2.KeyManagementService/Decrypt",
        };
        let mut body = vec![0; PREFIX];
        message.encode(&mut body).expect("a buffer that grows");
        let length = u32::try_from(body.len() - PREFIX).expect("a short message");
        body[1..PREFIX].copy_from_slice(&length.to_be_bytes());
        let body = Bytes::from(body);
        Self { path, body }
    }
}

impl Connection {
    pub(super) async fn open(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).await.expect("it listens");
        let (sender, connection) = client::handshake(stream).await.expect("it speaks HTTP/2");
        tokio::spawn(connection);
        Self(sender)
    }

    /// The message of the answer; panics where there is none.
    pub(super) async fn call(&self, call: &Prepared) -> Bytes {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://localhost{}", call.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", "3S");
        let request = request.body(()).expect("a request");
        let mut sender = self.0.clone().ready().await.expect("it stays open");
        let (answer, mut stream) = sender.send_request(request, false).expect("a free stream");
        stream
            .send_data(call.body.clone(), true)
            .expect("an open stream");
        let answer = answer.await.expect("an answer");
        let early = answer.headers().clone();
        let mut body = answer.into_body();
        let mut message = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.expect("a whole answer");
            let _ = body.flow_control().release_capacity(chunk.len());
            message.extend_from_slice(&chunk);
        }
        let trailers = body.trailers().await.expect("a whole answer");
        let status = status_of(trailers.as_ref().unwrap_or(&early));
        assert_eq!(status, Some("0"), "{}: {trailers:?}", call.path);
        Bytes::from(message).slice(PREFIX..)
    }
}

fn status_of(headers: &HeaderMap) -> Option<&str> {
    headers.get("grpc-status")?.to_str().ok()
}

fn uid() -> String {
    format!("{:032x}", fastrand::u128(..))
}
