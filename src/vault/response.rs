//! Reads a response of Vault: its envelope, its error list, or something that is not Vault's.

use std::error::Error;
use std::ops::Deref;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::{CallError, Progress};
use super::error_kind::ApiErrorKind;
use super::redaction::Secrets;
use crate::diagnosis::Diagnosis;

/// No response that the plugin requests comes near this; a longer one is an attack or an error.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// How much of Vault's message an error holds: it is sent in headers, logs and API errors.
const MAX_MESSAGE_CHARS: usize = 500;

/// A successful response.
#[derive(Debug)]
pub(super) struct Response {
    path: String,
    address: String,
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

/// The envelope of a successful response.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) data: T,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

impl Response {
    #[cfg(any(test, fuzzing))]
    pub(super) fn for_test(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            path: "transit/decrypt/kms".to_owned(),
            address: "http://127.0.0.1:8200".to_owned(),
            status,
            retry_after: None,
            body: body.into(),
        }
    }

    /// The HTTP status.
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// Whether the server did all that it was asked for: of a batch an item may have failed.
    pub(super) fn is_complete(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the body is empty, as with 204.
    pub(super) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Reads the body as `T`, which may borrow from it.
    pub(super) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, CallError> {
        // serde's own message could quote a value of the body, which may be a secret.
        serde_json::from_slice(&self.body).map_err(|error| {
            self.unexpected(format!(
                "not the expected JSON at line {} column {}",
                error.line(),
                error.column()
            ))
        })
    }

    /// The error for a message of Vault, without the secrets of the request.
    pub(super) fn api_error(&self, message: &str, secrets: &Secrets<'_>) -> CallError {
        CallError::Api {
            path: self.path.clone(),
            status: self.status,
            kind: ApiErrorKind::read(self.status, message),
            message: on_one_line(&secrets.redact(message)),
            retry_after: self.retry_after,
        }
    }

    /// The error for a login that Vault does not complete without `what`.
    pub(super) fn login_incomplete(&self, what: &str) -> CallError {
        CallError::Api {
            path: self.path.clone(),
            status: self.status,
            kind: ApiErrorKind::LoginIncomplete,
            message: format!("it requires {what}"),
            retry_after: None,
        }
    }

    /// The error for a response that Vault would not send.
    pub(super) fn unexpected(&self, cause: impl Into<Diagnosis>) -> CallError {
        CallError::UnexpectedResponse {
            path: self.path.clone(),
            address: self.address.clone(),
            status: self.status,
            cause: cause.into(),
            retry_after: self.retry_after,
        }
    }

    /// This response, if it is of 2xx or the result of a batch.
    ///
    /// # Errors
    /// That of any other.
    pub(super) fn successful(self, secrets: &Secrets<'_>) -> Result<Self, CallError> {
        if self.is_complete() || is_batch(&self.body) {
            return Ok(self);
        }
        Err(self.error(secrets))
    }

    /// The error of a response whose status is not 2xx.
    fn error(&self, secrets: &Secrets<'_>) -> CallError {
        if let Ok(Errors { errors }) = serde_json::from_slice(&self.body) {
            return self.api_error(&errors.join("; "), secrets);
        }
        self.unexpected(if self.is_plain_http_to_tls() {
            Diagnosis::new("the server speaks TLS only")
                .with_remedy("write https:// in vault.address")
        } else {
            Diagnosis::new("not a Vault JSON error")
                .with_remedy("check whether a proxy or load balancer answers in Vault's place")
        })
    }

    /// Whether it is what Go's TLS server answers to plain HTTP.
    fn is_plain_http_to_tls(&self) -> bool {
        String::from_utf8_lossy(&self.body).contains("HTTP request to an HTTPS server")
    }
}

/// Reads a response to its end: `Ok` for 2xx, and for the result of a batch.
pub(super) async fn read(
    mut http: reqwest::Response,
    path: &str,
    address: &str,
    secrets: Secrets<'_>,
) -> Result<Response, CallError> {
    let mut response = Response {
        path: path.to_owned(),
        address: address.to_owned(),
        status: http.status().as_u16(),
        retry_after: retry_after(&http),
        body: Vec::new(),
    };
    while let Some(chunk) = next_chunk(&mut http, &response).await? {
        if response.body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(response
                .unexpected(Diagnosis::new("its body is larger than 1 MiB").with_remedy(
                "for a transit key of type RSA with many versions, use one of type aes256-gcm96, and keep this one under transit.decrypt_also",
            )));
        }
        response.body.extend_from_slice(&chunk);
    }
    response.successful(&secrets)
}

/// Whether the body is the result of a batch, which holds the error of each item. If one failed,
/// only the status differs from that of a success (OpenBao
/// `builtin/logical/transit/path_encrypt.go`).
fn is_batch(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Batch {
        #[serde(rename = "batch_results")]
        _results: Vec<IgnoredAny>,
    }
    serde_json::from_slice::<Envelope<Batch>>(body).is_ok()
}

async fn next_chunk(
    http: &mut reqwest::Response,
    response: &Response,
) -> Result<Option<impl AsRef<[u8]> + Deref<Target = [u8]> + use<>>, CallError> {
    http.chunk().await.map_err(|error| CallError::Unreachable {
        path: response.path.clone(),
        address: response.address.clone(),
        cause: Diagnosis::new(format!(
            "connection closed while reading the response: {}",
            root_cause(&error)
        )),
        progress: Progress::PerhapsSent,
    })
}

/// `1 error occurred:\n\t* permission denied\n\n` becomes `permission denied`.
fn on_one_line(message: &str) -> String {
    let lines = message
        .lines()
        .map(|line| line.trim().trim_start_matches("* "))
        .filter(|line| !line.is_empty() && !line.ends_with("occurred:"));
    let joined = lines.collect::<Vec<_>>().join("; ");
    joined.chars().take(MAX_MESSAGE_CHARS).collect()
}

fn retry_after(http: &reqwest::Response) -> Option<Duration> {
    let value = http.headers().get("retry-after")?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// The innermost source of an error, which says what happened.
#[must_use]
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multi_line_error_becomes_one_line() {
        let message = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n";
        assert_eq!(on_one_line(message), "permission denied; invalid token");
    }

    /// What is read of a response with this status, `Retry-After` and body.
    async fn read_of(
        status: u16,
        retry_after: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> Result<Response, CallError> {
        let mut http = http::Response::builder().status(status);
        if let Some(value) = retry_after {
            http = http.header("retry-after", value);
        }
        let http = http.body(body.into()).expect("a response");
        let address = "http://127.0.0.1:8200";
        read(
            http.into(),
            "transit/encrypt/kms",
            address,
            Secrets::default(),
        )
        .await
    }

    #[tokio::test]
    async fn a_body_of_a_mebibyte_is_read_and_a_longer_one_is_not_vaults() {
        for (length, is_read) in [
            (0, true),
            (MAX_BODY_BYTES, true),
            (MAX_BODY_BYTES + 1, false),
        ] {
            let read = read_of(200, None, vec![b'x'; length]).await;
            assert_eq!(read.is_ok(), is_read, "{length}");
            if let Ok(response) = read {
                assert_eq!(response.is_empty(), length == 0);
            }
        }
    }

    #[tokio::test]
    async fn the_results_of_a_batch_are_a_response_whatever_its_status() {
        let batch = r#"{"data": {"batch_results": [{"error": "no"}]}}"#;
        for (status, is_complete) in [(200, true), (299, true), (300, false), (400, false)] {
            let response = read_of(status, None, batch).await.expect("a response");
            assert_eq!(response.is_complete(), is_complete, "{status}");
            assert_eq!(response.status(), status);
        }
        for body in ["", "{}", r#"{"data": {}}"#, r#"{"errors": ["no"]}"#] {
            assert!(read_of(400, None, body).await.is_err(), "{body:?}");
            assert!(read_of(200, None, body).await.is_ok(), "{body:?}");
        }
    }

    #[tokio::test]
    async fn an_error_is_vaults_own_or_somebody_elses_and_says_when_to_retry() {
        let second = Duration::from_secs(1);
        for (header, asked) in [
            (Some("7"), Some(7 * second)),
            (Some("soon"), None),
            (None, None),
        ] {
            let error = read_of(503, header, r#"{"errors": ["Vault is sealed"]}"#).await;
            let error = error.expect_err("503");
            assert_eq!(error.api_error(), Some(ApiErrorKind::Transient));
            assert_eq!(error.retry_after(), asked);
            assert_eq!(error.path(), "transit/encrypt/kms");
            let text = "transit/encrypt/kms: HTTP 503: Vault is sealed";
            assert_eq!(error.to_string(), text);
            let error = read_of(503, header, "<html>").await.expect_err("503");
            assert_eq!(error.api_error(), None);
            assert_eq!(error.retry_after(), asked);
            assert!(
                error.to_string().contains("proxy or load balancer"),
                "{error}"
            );
        }
        let plain = "Client sent an HTTP request to an HTTPS server.";
        let error = read_of(400, None, plain).await.expect_err("400");
        assert!(
            error.to_string().contains("https:// in vault.address"),
            "{error}"
        );
    }
}
