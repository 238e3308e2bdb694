//! A plugin with the surface of another one: its key_id, its annotations, and what it demands of a Decrypt. It asks a
//! real Vault, one request for each call, as all of them do.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use vault_kms_plugin::grpc::proto::{v1beta1, v2};

use super::plugin::Peer;
use crate::harness::http;
use crate::harness::vault::{Fixture, Vault};
use crate::surfaces::bound::golden;

/// What Kleidi writes, and demands.
pub(super) const KLEIDI: (&str, &[u8]) = ("v2.kleidi.beezy.dev", b"1");

/// A running double. Its socket is gone with it.
#[derive(Debug)]
pub(super) struct Double {
    task: JoinHandle<()>,
    socket: PathBuf,
}

impl Drop for Double {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Double {
    pub(super) fn start(peer: Peer, socket: &Path, vault: &Vault, fixture: &Fixture) -> Self {
        let transit = Transit {
            peer,
            golden: golden(),
            address: vault.address(),
            token: fixture.token.clone(),
            mount: fixture.mount.clone(),
            key: fixture.key.clone(),
        };
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let v2 =
            v2::key_management_service_server::KeyManagementServiceServer::new(transit.clone());
        let v1 = v1beta1::key_management_service_server::KeyManagementServiceServer::new(transit);
        let routes = Routes::new(v2).add_service(v1).prepare();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(routes.clone());
                let server = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            task,
            socket: socket.to_owned(),
        }
    }
}

#[derive(Debug, Clone)]
struct Transit {
    peer: Peer,
    /// What bao-kms-provider binds to: that of its published vector.
    golden: Value,
    address: String,
    token: String,
    mount: String,
    key: String,
}

impl Transit {
    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Status> {
        let url = format!("{}/v1/{}/{path}/{}", self.address, self.mount, self.key);
        let request = http::Request {
            method,
            url: &url,
            credential: Some(("X-Vault-Token", &self.token)),
            ca_pem: None,
        };
        let answer = http::text(request, body.as_ref()).await;
        let (code, text) = answer.map_err(|error| Status::unavailable(error.to_string()))?;
        if code != 200 {
            return Err(Status::internal(format!("{code} {text}")));
        }
        let value: Value = serde_json::from_str(&text).unwrap();
        Ok(value["data"].clone())
    }

    /// Binds a request to the labels, if the plugin has any.
    fn bound(&self, mut body: Value) -> Value {
        if self.peer == Peer::BaoKmsProvider {
            body["associated_data"] = self.golden["associated_data"].clone();
        }
        body
    }

    async fn encrypt(&self, plaintext: &[u8]) -> Result<Vec<u8>, Status> {
        let body = self.bound(json!({ "plaintext": STANDARD.encode(plaintext) }));
        let data = self.ask("PUT", "encrypt", Some(body)).await?;
        Ok(data["ciphertext"].as_str().unwrap().as_bytes().to_vec())
    }

    async fn decrypt(&self, ciphertext: &[u8]) -> Result<Vec<u8>, Status> {
        let body = self.bound(json!({ "ciphertext": String::from_utf8_lossy(ciphertext) }));
        let data = self.ask("PUT", "decrypt", Some(body)).await?;
        Ok(STANDARD
            .decode(data["plaintext"].as_str().unwrap())
            .unwrap())
    }

    fn annotations(&self) -> HashMap<String, Vec<u8>> {
        match self.peer {
            Peer::VaultKubernetesKms | Peer::VaultKmsProvider => HashMap::new(),
            Peer::Kleidi => HashMap::from([(KLEIDI.0.to_owned(), KLEIDI.1.to_vec())]),
            Peer::BaoKmsProvider => {
                let annotations = self.golden["annotations"].as_object().unwrap();
                let pair = |(name, value): (&String, &Value)| {
                    (name.clone(), value.as_str().unwrap().as_bytes().to_vec())
                };
                annotations.iter().map(pair).collect()
            }
        }
    }

    async fn key_id(&self) -> Result<String, Status> {
        let key = self.ask("GET", "keys", None).await?;
        let version = key["latest_version"].to_string();
        let created = key["keys"][&version].to_string();
        Ok(match self.peer {
            Peer::VaultKubernetesKms => version,
            Peer::VaultKmsProvider => created,
            Peer::Kleidi => format!("kleidi-kms-plugin_{version}_{created}"),
            Peer::BaoKmsProvider => self.golden["key_id"].as_str().unwrap().to_owned(),
        })
    }
}

#[tonic::async_trait]
impl v2::key_management_service_server::KeyManagementService for Transit {
    async fn status(
        &self,
        _: Request<v2::StatusRequest>,
    ) -> Result<Response<v2::StatusResponse>, Status> {
        Ok(Response::new(v2::StatusResponse {
            version: "v2".to_owned(),
            healthz: "ok".to_owned(),
            key_id: self.key_id().await?,
        }))
    }

    async fn encrypt(
        &self,
        request: Request<v2::EncryptRequest>,
    ) -> Result<Response<v2::EncryptResponse>, Status> {
        let ciphertext = Transit::encrypt(self, &request.into_inner().plaintext).await?;
        let annotations = self.annotations();
        Ok(Response::new(v2::EncryptResponse {
            ciphertext,
            key_id: self.key_id().await?,
            annotations,
        }))
    }

    async fn decrypt(
        &self,
        request: Request<v2::DecryptRequest>,
    ) -> Result<Response<v2::DecryptResponse>, Status> {
        let request = request.into_inner();
        // Both refuse what they have not written themselves.
        let is_its_own = match self.peer {
            Peer::VaultKubernetesKms | Peer::VaultKmsProvider => true,
            Peer::Kleidi => request.annotations == self.annotations(),
            Peer::BaoKmsProvider => request.key_id == self.key_id().await?,
        };
        if !is_its_own {
            return Err(Status::unknown("invalid annotations or key_id"));
        }
        let plaintext = Transit::decrypt(self, &request.ciphertext).await?;
        Ok(Response::new(v2::DecryptResponse { plaintext }))
    }
}

#[tonic::async_trait]
impl v1beta1::key_management_service_server::KeyManagementService for Transit {
    async fn version(
        &self,
        _: Request<v1beta1::VersionRequest>,
    ) -> Result<Response<v1beta1::VersionResponse>, Status> {
        Ok(Response::new(v1beta1::VersionResponse {
            version: "v1beta1".to_owned(),
            runtime_name: "vault".to_owned(),
            runtime_version: "0.0.1".to_owned(),
        }))
    }

    async fn encrypt(
        &self,
        request: Request<v1beta1::EncryptRequest>,
    ) -> Result<Response<v1beta1::EncryptResponse>, Status> {
        let cipher = Transit::encrypt(self, &request.into_inner().plain).await?;
        Ok(Response::new(v1beta1::EncryptResponse { cipher }))
    }

    async fn decrypt(
        &self,
        request: Request<v1beta1::DecryptRequest>,
    ) -> Result<Response<v1beta1::DecryptResponse>, Status> {
        let plain = Transit::decrypt(self, &request.into_inner().cipher).await?;
        Ok(Response::new(v1beta1::DecryptResponse { plain }))
    }
}
