//! A KMS v2 plugin that only turns bytes around, to try the harness's ends of the protocol on.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixListener;
use tonic::{Request, Response, Status};
use vault_kms_plugin::grpc::proto::v2;
use vault_kms_plugin::grpc::proto::v2::key_management_service_server as v2_server;

/// Encrypt never answers to this one.
pub(super) const HANG: &[u8] = b"hang";
/// Encrypt answers to this one with the timeout it was given.
pub(super) const TIMEOUT: &[u8] = b"timeout";

struct Fake;

/// Serves on the runtime of the caller.
pub(super) fn serve(listener: UnixListener) {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = v2_server::KeyManagementServiceServer::new(Fake);
            let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
            tokio::spawn(served);
        }
    });
}

#[tonic::async_trait]
impl v2_server::KeyManagementService for Fake {
    async fn status(
        &self,
        _: Request<v2::StatusRequest>,
    ) -> Result<Response<v2::StatusResponse>, Status> {
        Ok(Response::new(v2::StatusResponse {
            version: "v2".to_owned(),
            healthz: "ok".to_owned(),
            key_id: "fake".to_owned(),
        }))
    }

    async fn encrypt(
        &self,
        request: Request<v2::EncryptRequest>,
    ) -> Result<Response<v2::EncryptResponse>, Status> {
        let timeout = request
            .metadata()
            .get("grpc-timeout")
            .map(|value| value.as_bytes().to_vec());
        let plaintext = request.into_inner().plaintext;
        let ciphertext = match plaintext.as_slice() {
            HANG => std::future::pending().await,
            TIMEOUT => timeout.unwrap_or_default(),
            other => other.iter().rev().copied().collect(),
        };
        let key_id = "fake".to_owned();
        Ok(Response::new(v2::EncryptResponse {
            ciphertext,
            key_id,
            ..Default::default()
        }))
    }

    async fn decrypt(
        &self,
        request: Request<v2::DecryptRequest>,
    ) -> Result<Response<v2::DecryptResponse>, Status> {
        let request = request.into_inner();
        if request.key_id != "fake" {
            return Err(Status::failed_precondition("not my key_id"));
        }
        let plaintext = request.ciphertext.iter().rev().copied().collect();
        Ok(Response::new(v2::DecryptResponse { plaintext }))
    }
}
