//! The KMS v1 service, which has neither Status nor key_id.

use tonic::{Request, Response, Status};

use super::call::Call;
use super::deadline::Deadline;
use super::failures::{CallInfo, Operation};
use super::forward::Forwarder;
use super::proto::v1beta1::key_management_service_server::KeyManagementService;
use super::proto::v1beta1::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, VersionRequest,
    VersionResponse,
};
use crate::keys::{Annotations, Pin};

/// The only version that kube-apiserver accepts (`envelope/grpc_service.go`).
const VERSION: &str = "v1beta1";

/// The service: reads a request, forwards it, writes the answer.
#[derive(Debug)]
pub(super) struct Service {
    forwarder: Forwarder,
}

impl Service {
    pub(super) fn new(forwarder: Forwarder) -> Self {
        Self { forwarder }
    }

    fn record<T>(&self, operation: Operation, answer: &Result<T, Status>) {
        let call = CallInfo {
            operation,
            kms: "v1",
            uid: None,
            key_id: None,
        };
        self.forwarder.failures().record(call, answer);
    }
}

#[tonic::async_trait]
impl KeyManagementService for Service {
    async fn version(
        &self,
        _: Request<VersionRequest>,
    ) -> Result<Response<VersionResponse>, Status> {
        Ok(Response::new(VersionResponse {
            version: VERSION.to_owned(),
            runtime_name: env!("CARGO_PKG_NAME").to_owned(),
            runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }

    async fn encrypt(
        &self,
        request: Request<EncryptRequest>,
    ) -> Result<Response<EncryptResponse>, Status> {
        let deadline = Deadline::of(request.extensions())?;
        let call = Call::of(request.extensions())?;
        let plain = request.into_inner().plain;
        let answer = self
            .forwarder
            .encrypt(&call, plain, Pin::Latest, deadline)
            .await;
        self.record(Operation::Encrypt, &answer);
        let wrapped = answer?;
        Ok(Response::new(EncryptResponse {
            cipher: wrapped.ciphertext.into_bytes(),
        }))
    }

    async fn decrypt(
        &self,
        request: Request<DecryptRequest>,
    ) -> Result<Response<DecryptResponse>, Status> {
        let deadline = Deadline::of(request.extensions())?;
        let call = Call::of(request.extensions())?;
        let cipher = request.into_inner().cipher;
        let answer = self
            .forwarder
            .decrypt(&call, cipher, None, Annotations::new(), deadline)
            .await;
        self.record(Operation::Decrypt, &answer);
        let plaintext = answer?;
        Ok(Response::new(DecryptResponse {
            plain: plaintext.into_exposed_bytes(),
        }))
    }
}
