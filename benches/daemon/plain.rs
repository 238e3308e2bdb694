//! The yardstick: Transit over one kept-alive connection with hyper's bare HTTP/1.1 client. The
//! bodies are made beforehand, and of an answer no more than the status is looked at.

use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use super::harness::vault::Fixture;

/// One connection to Vault.
pub(super) struct PlainCaller {
    sender: SendRequest<Body>,
    host: String,
    token: String,
    encrypt: Prepared,
    decrypt: Prepared,
}

struct Prepared {
    path: String,
    body: Bytes,
}

impl PlainCaller {
    /// Sends what the daemon sends for the same call, with the same token.
    pub(super) async fn connect(
        vault: SocketAddr,
        fixture: &Fixture,
        seed: &[u8],
        ciphertext: &[u8],
    ) -> Self {
        let stream = TcpStream::connect(vault).await.expect("Vault listens");
        stream.set_nodelay(true).expect("a socket takes options");
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .expect("a connection needs no more than its stream");
        tokio::spawn(connection);
        let prepared = |operation: &str, body: serde_json::Value| Prepared {
            path: format!("/v1/{}/{operation}/{}", fixture.mount, fixture.key),
            body: Bytes::from(body.to_string()),
        };
        let ciphertext = String::from_utf8_lossy(ciphertext);
        let plaintext = json!({ "plaintext": STANDARD.encode(seed), "key_version": 1 });
        Self {
            sender,
            host: vault.to_string(),
            token: fixture.token.clone(),
            encrypt: prepared("encrypt", plaintext),
            decrypt: prepared("decrypt", json!({ "ciphertext": ciphertext })),
        }
    }

    pub(super) async fn encrypt(&mut self) {
        let request = self.request(&self.encrypt);
        self.send(request).await;
    }

    pub(super) async fn decrypt(&mut self) {
        let request = self.request(&self.decrypt);
        self.send(request).await;
    }

    fn request(&self, prepared: &Prepared) -> Request<Body> {
        let request = Request::post(&prepared.path)
            .header(header::HOST, &self.host)
            .header("x-vault-request", "true")
            .header("x-vault-token", &self.token);
        let body = Body::from(prepared.body.clone());
        request.body(body).expect("a path and headers are right")
    }

    async fn send(&mut self, request: Request<Body>) {
        self.sender.ready().await.expect("Vault keeps it open");
        let answer = self.sender.send_request(request).await;
        let answer = answer.expect("Vault answers");
        assert!(answer.status().is_success(), "{}", answer.status());
        let body = axum::body::to_bytes(Body::new(answer.into_body()), usize::MAX);
        body.await.expect("Vault's answer is whole");
    }
}
