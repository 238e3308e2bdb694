//! The KMS v2 service.

use std::collections::HashMap;

use tonic::{Request, Response, Status};
use tracing::debug;

use super::call::Call;
use super::deadline::Deadline;
use super::error::MAX_TEXT;
use super::failures::{CallInfo, Operation};
use super::forward::Forwarder;
use super::proto::v2::key_management_service_server::KeyManagementService;
use super::proto::v2::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use crate::keys::Pin;
use crate::system::bounded;

/// The name and the value of an annotation.
pub type Annotation = (&'static str, &'static [u8]);

/// The version that Status returns. It must never change under a running kube-apiserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KmsVersion {
    /// Kubernetes 1.29 and later.
    V2,
    /// Kubernetes 1.27 and 1.28, which accept only this.
    V2Beta1,
}

/// The service: reads a request, forwards it, writes the answer.
#[derive(Debug)]
pub(super) struct Service {
    forwarder: Forwarder,
    version: KmsVersion,
    annotation: Option<Annotation>,
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
    pub(super) fn new(
        forwarder: Forwarder,
        version: KmsVersion,
        annotation: Option<Annotation>,
    ) -> Self {
        Self {
            forwarder,
            version,
            annotation,
        }
    }

    /// The one of another plugin, and the one of a local KEK.
    fn annotations(&self, local: Option<(&str, Vec<u8>)>) -> HashMap<String, Vec<u8>> {
        let own = self.annotation.map(|(name, value)| (name, value.to_vec()));
        let all = own.into_iter().chain(local);
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn record<T>(
        &self,
        operation: Operation,
        uid: Option<&str>,
        key_id: Option<&str>,
        answer: &Result<T, Status>,
    ) {
        let call = CallInfo {
            operation,
            kms: "v2",
            uid,
            key_id,
        };
        self.forwarder.failures().record(call, answer);
    }
}

#[tonic::async_trait]
impl KeyManagementService for Service {
    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let deadline = Deadline::of(request.extensions())?;
        let call = Call::of(request.extensions())?;
        let report = self.forwarder.status(deadline).await;
        self.record(Operation::Status, None, None, &report);
        let report = report?;
        call.announce(report.key.clone());
        Ok(Response::new(StatusResponse {
            version: self.version.as_str().to_owned(),
            healthz: bounded(&report.healthz, MAX_TEXT),
            key_id: report.key.key_id.to_string(),
        }))
    }

    async fn encrypt(
        &self,
        request: Request<EncryptRequest>,
    ) -> Result<Response<EncryptResponse>, Status> {
        let deadline = Deadline::of(request.extensions())?;
        let call = Call::of(request.extensions())?;
        let EncryptRequest { plaintext, uid } = request.into_inner();
        debug!(operation = "encrypt", uid, "call");
        call.span.uid(&uid);
        let pin = Pin::Announced(call.last_announced());
        let answer = self
            .forwarder
            .encrypt(&call, plaintext, pin, deadline)
            .await;
        self.record(Operation::Encrypt, Some(&uid), None, &answer);
        let wrapped = answer?;
        call.span.key_id(wrapped.key_id.as_str());
        Ok(Response::new(EncryptResponse {
            ciphertext: wrapped.ciphertext.into_bytes(),
            key_id: wrapped.key_id.to_string(),
            annotations: self.annotations(wrapped.annotation),
        }))
    }

    async fn decrypt(
        &self,
        request: Request<DecryptRequest>,
    ) -> Result<Response<DecryptResponse>, Status> {
        let deadline = Deadline::of(request.extensions())?;
        let call = Call::of(request.extensions())?;
        let DecryptRequest {
            ciphertext,
            uid,
            key_id,
            annotations,
        } = request.into_inner();
        debug!(operation = "decrypt", uid, key_id, "call");
        call.span.uid(&uid);
        call.span.key_id(&key_id);
        let answer = self
            .forwarder
            .decrypt(
                &call,
                ciphertext,
                Some(key_id.clone()),
                annotations,
                deadline,
            )
            .await;
        self.record(Operation::Decrypt, Some(&uid), Some(&key_id), &answer);
        let plaintext = answer?;
        Ok(Response::new(DecryptResponse {
            plaintext: plaintext.into_exposed_bytes(),
        }))
    }
}
