//! The KMS v2 service.

use std::collections::HashMap;

use tonic::{Request, Response, Status};
use tracing::{debug, warn};

use super::call::Call;
use super::deadline::Deadline;
use super::forward::Forwarder;
use super::proto::v2::key_management_service_server::KeyManagementService;
use super::proto::v2::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use super::status::vault_path;
use crate::keys::Pin;

/// What Status says of the version. It may never change under a running kube-apiserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KmsVersion {
    /// Kubernetes 1.29 and later.
    V2,
    /// Kubernetes 1.27 and 1.28, which know only this.
    V2Beta1,
}

/// The service: reads a request, forwards it, writes the answer.
#[derive(Debug)]
pub(super) struct Service {
    forwarder: Forwarder,
    version: KmsVersion,
}

impl KmsVersion {
    /// The text on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2Beta1 => "v2beta1",
        }
    }
}

impl Service {
    pub(super) fn new(forwarder: Forwarder, version: KmsVersion) -> Self {
        Self { forwarder, version }
    }
}

#[tonic::async_trait]
impl KeyManagementService for Service {
    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let report = self.forwarder.status(deadline).await;
        let report = report.inspect_err(|status| failed("status", None, None, status))?;
        Ok(Response::new(StatusResponse {
            version: self.version.as_str().to_owned(),
            healthz: report.healthz,
            key_id: report.key_id.to_string(),
        }))
    }

    async fn encrypt(
        &self,
        request: Request<EncryptRequest>,
    ) -> Result<Response<EncryptResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let call = Call::of(request.extensions())?;
        let EncryptRequest { plaintext, uid } = request.into_inner();
        debug!(operation = "encrypt", uid, "call");
        call.span.uid(&uid);
        let answer = self
            .forwarder
            .encrypt(&call, plaintext, Pin::Announced, deadline)
            .await;
        let wrapped = answer.inspect_err(|status| failed("encrypt", Some(&uid), None, status))?;
        call.span.key_id(wrapped.key_id.as_str());
        Ok(Response::new(EncryptResponse {
            ciphertext: wrapped.ciphertext.into_bytes(),
            key_id: wrapped.key_id.to_string(),
            annotations: HashMap::new(),
        }))
    }

    async fn decrypt(
        &self,
        request: Request<DecryptRequest>,
    ) -> Result<Response<DecryptResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let call = Call::of(request.extensions())?;
        let DecryptRequest {
            ciphertext,
            uid,
            key_id,
            annotations: _,
        } = request.into_inner();
        debug!(operation = "decrypt", uid, key_id, "call");
        call.span.uid(&uid);
        call.span.key_id(&key_id);
        let answer = self
            .forwarder
            .decrypt(&call, ciphertext, Some(key_id.clone()), deadline)
            .await;
        let plaintext =
            answer.inspect_err(|status| failed("decrypt", Some(&uid), Some(&key_id), status))?;
        Ok(Response::new(DecryptResponse {
            plaintext: plaintext.into_exposed_bytes(),
        }))
    }
}

/// `uid` is in kube-apiserver's log too.
fn failed(operation: &'static str, uid: Option<&str>, key_id: Option<&str>, status: &Status) {
    let (code, error, vault_path) = (status.code(), status.message(), vault_path(status));
    warn!(
        operation,
        uid,
        key_id,
        ?code,
        error,
        vault_path,
        "call failed"
    );
}
