//! One request to kube-apiserver, and its response.

use std::time::Duration;

use http::{Method, Request, header};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::connection::Cluster;
use super::status::Status;
use crate::diagnosis::Diagnosis;

/// How long a request may take: kube-apiserver's own limit.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest body that is read: a page of metadata with large annotations, 256 KiB each, is shorter.
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;
const JSON: &str = "application/json";

/// One request.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    path: String,
    accept: &'static str,
    body: Option<(&'static str, Vec<u8>)>,
}

/// A successful response.
#[derive(Debug)]
pub struct Answer {
    /// The body.
    pub body: Vec<u8>,
}

/// A request that failed.
#[derive(Debug, Clone)]
pub enum CallError {
    /// No response.
    Unreachable(String),
    /// One has no credentials, such as from a program of the kubeconfig.
    NoCredentials(String),
    /// A response that refuses it, and how long to wait before the next.
    Refused(Box<Status>, Option<Duration>),
}

impl Call {
    /// Reads a path.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into())
    }

    /// Creates an object.
    #[must_use]
    pub fn post(path: impl Into<String>, body: &serde_json::Value) -> Self {
        let body = Some((JSON, body.to_string().into_bytes()));
        Self {
            body,
            ..Self::new(Method::POST, path.into())
        }
    }

    /// Deletes an object.
    #[must_use]
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path.into())
    }

    /// Merges a patch into an object.
    #[must_use]
    pub fn merge_patch(path: impl Into<String>, patch: &serde_json::Value) -> Self {
        let body = Some((
            "application/merge-patch+json",
            patch.to_string().into_bytes(),
        ));
        Self {
            body,
            ..Self::new(Method::PATCH, path.into())
        }
    }

    /// The same with this form of the response.
    #[must_use]
    pub fn accept(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }

    fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            accept: JSON,
            body: None,
        }
    }

    fn request(&self) -> Result<Request<Body>, CallError> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(header::ACCEPT, self.accept)
            .header(
                header::USER_AGENT,
                concat!("vault-kmsctl/", env!("CARGO_PKG_VERSION")),
            );
        let body = match &self.body {
            Some((kind, body)) => {
                request = request.header(header::CONTENT_TYPE, *kind);
                Body::from(body.clone())
            }
            None => Body::empty(),
        };
        let request = request.body(body);
        request.map_err(|error| CallError::Unreachable(format!("{}: {error}", self.path)))
    }
}

impl Answer {
    /// Reads the body as JSON.
    ///
    /// # Errors
    /// If it is something else.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            CallError::Unreachable(format!(
                "the response is not the expected JSON at line {line} column {column}"
            ))
        })
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Cluster {
    /// Sends a request once.
    ///
    /// # Errors
    /// As [`CallError`].
    pub async fn send(&self, call: &Call) -> Result<Answer, CallError> {
        let request = call.request()?;
        match timeout(TIMEOUT, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::Unreachable(format!(
                "no response within {} s",
                TIMEOUT.as_secs()
            ))),
        }
    }

    async fn exchange(&self, request: Request<Body>) -> Result<Answer, CallError> {
        let response = self.client.send(request).await.map_err(|error| {
            let cause = crate::vault::root_cause(&error);
            match error {
                kube::Error::Auth(_) => CallError::NoCredentials(cause),
                _ => CallError::Unreachable(cause),
            }
        })?;
        let status = response.status();
        let after = response.headers().get(header::RETRY_AFTER);
        let after = after.and_then(|text| text.to_str().ok()?.trim().parse().ok());
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES)
            .collect()
            .await;
        let body = body.map_err(|error| CallError::Unreachable(error.to_string()))?;
        let body = body.to_bytes().to_vec();
        if status.is_success() {
            return Ok(Answer { body });
        }
        let status = Status::read(status.as_u16(), &body);
        let after = after.or(status.details.retry_after_seconds);
        Err(CallError::Refused(
            Box::new(status),
            after.map(Duration::from_secs),
        ))
    }
}

impl CallError {
    /// The error for an operator.
    #[must_use]
    pub fn diagnosis(&self, address: &str) -> Diagnosis {
        match self {
            Self::Unreachable(cause) => {
                Diagnosis::new(format!("kube-apiserver {address}: {cause}"))
                    .with_remedy("check the server of the kubeconfig, and that it is running")
            }
            Self::NoCredentials(cause) => {
                Diagnosis::new(format!("kubeconfig: no credentials: {cause}"))
                    .with_remedy("log in again, so that `kubectl get --raw /version` works")
            }
            Self::Refused(status, _) => {
                let cause = format!("kube-apiserver {address}: {}", status.message);
                let remedy = match status.code {
                    401 => "log in again, so that `kubectl get --raw /version` works",
                    403 => "grant what it names, as docs/operations/re-encryption.md shows",
                    _ => return Diagnosis::new(cause),
                };
                Diagnosis::new(cause).with_remedy(remedy)
            }
        }
    }
}
