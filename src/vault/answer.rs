//! Reads what Vault answered: its envelope, its error list, or something that is not Vault's.

use std::error::Error;
use std::time::Duration;

use reqwest::Response;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::CallError;
use super::error_kind::ApiErrorKind;

/// No answer that the plugin asks for comes near this; more would be an attack or an accident.
const MAX_BODY: usize = 1024 * 1024;

/// What of Vault's words goes into an error: it ends up in headers, logs and API errors.
const MAX_WORDS: usize = 500;

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    path: String,
    address: String,
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

impl Answer {
    #[cfg(test)]
    pub(super) fn for_test(status: u16, body: &str) -> Self {
        Self {
            path: "transit/decrypt/kms".to_owned(),
            address: "http://127.0.0.1:8200".to_owned(),
            status,
            retry_after: None,
            body: body.as_bytes().to_vec(),
        }
    }

    /// Whether there is a body at all (204 has none).
    pub(super) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Reads the body as `T`, which may borrow from it.
    pub(super) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, CallError> {
        // serde's own message could quote a value of the body, which may be a secret.
        serde_json::from_slice(&self.body).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            self.foreign(&format!("not the JSON expected, at {place}"))
        })
    }

    /// The error for what Vault refuses, in these words.
    pub(super) fn refused(&self, words: &str) -> CallError {
        CallError::Api {
            path: self.path.clone(),
            status: self.status,
            kind: ApiErrorKind::read(self.status, words),
            message: on_one_line(words),
            retry_after: self.retry_after,
        }
    }

    /// The error for an answer that parses but says something impossible.
    pub(super) fn foreign(&self, cause: &str) -> CallError {
        CallError::UnexpectedResponse {
            path: self.path.clone(),
            address: self.address.clone(),
            status: self.status,
            cause: cause.to_owned(),
            retry_after: self.retry_after,
        }
    }
}

/// Reads a response to its end: `Ok` for 2xx.
pub(super) async fn read(
    mut response: Response,
    path: &str,
    address: &str,
) -> Result<Answer, CallError> {
    let mut answer = Answer {
        path: path.to_owned(),
        address: address.to_owned(),
        status: response.status().as_u16(),
        retry_after: retry_after(&response),
        body: Vec::new(),
    };
    while let Some(chunk) = next_chunk(&mut response, &answer).await? {
        if answer.body.len() + chunk.len() > MAX_BODY {
            return Err(answer.foreign("it is longer than 1 MiB"));
        }
        answer.body.extend_from_slice(&chunk);
    }
    if response.status().is_success() || is_batch(&answer.body) {
        return Ok(answer);
    }
    Err(refused(&answer))
}

/// A batch in which an item failed is answered as one that succeeded, but for its status (OpenBao
/// `builtin/logical/transit/path_encrypt.go`): each item says how it fared.
fn is_batch(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Envelope {
        data: Batch,
    }
    #[derive(Deserialize)]
    struct Batch {
        #[serde(rename = "batch_results")]
        _results: Vec<IgnoredAny>,
    }
    serde_json::from_slice::<Envelope>(body).is_ok_and(|Envelope { data: Batch { .. } }| true)
}

async fn next_chunk(
    response: &mut Response,
    answer: &Answer,
) -> Result<Option<impl AsRef<[u8]> + std::ops::Deref<Target = [u8]> + use<>>, CallError> {
    response
        .chunk()
        .await
        .map_err(|error| CallError::Unreachable {
            path: answer.path.clone(),
            address: answer.address.clone(),
            cause: format!("the answer broke off: {}", root_cause(&error)),
        })
}

fn refused(answer: &Answer) -> CallError {
    let Ok(Errors { errors }) = serde_json::from_slice(&answer.body) else {
        return answer.foreign(
            match words_in(&answer.body, "HTTP request to an HTTPS server") {
                true => "it speaks TLS only: write https:// in vault.address",
                false => "no JSON of Vault's",
            },
        );
    };
    answer.refused(&errors.join("; "))
}

/// Whether the body holds these words, which Go's own server answers with.
fn words_in(body: &[u8], words: &str) -> bool {
    String::from_utf8_lossy(body).contains(words)
}

/// `1 error occurred:\n\t* permission denied\n\n` becomes `permission denied`.
fn on_one_line(words: &str) -> String {
    let lines = words
        .lines()
        .map(|line| line.trim().trim_start_matches("* "))
        .filter(|line| !line.is_empty() && !line.ends_with("occurred:"));
    let joined = lines.collect::<Vec<_>>().join("; ");
    joined.chars().take(MAX_WORDS).collect()
}

fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get("retry-after")?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// The innermost of an error's causes: the one that says what happened.
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
    fn vaults_multi_line_errors_fit_on_one_line() {
        let words = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n";
        assert_eq!(on_one_line(words), "permission denied; invalid token");
    }
}
