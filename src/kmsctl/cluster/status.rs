//! What kube-apiserver says about a request that it refuses.

use serde::Deserialize;

/// How much of a message is kept: webhooks may say anything. The health checks of KMS providers are among the first.
const MAX_MESSAGE_CHARS: usize = 2000;

/// A `Status` of the Kubernetes API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    /// The HTTP status.
    pub code: u16,
    /// The reason in one word, such as `Expired`.
    pub reason: String,
    /// The message for people.
    pub message: String,
    /// More about it.
    pub details: Details,
    /// Of an expired list: how to go on.
    pub metadata: Metadata,
}

/// The details of a [`Status`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Details {
    /// Single causes.
    pub causes: Vec<Cause>,
    /// After how many seconds the request may be repeated.
    pub retry_after_seconds: Option<u64>,
}

/// One cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub field: String,
}

/// The metadata of a [`Status`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Goes on after the last page, at the state of now.
    #[serde(rename = "continue")]
    pub token: String,
}

impl Status {
    /// Reads the body of a response with this HTTP status, which may be of a proxy.
    #[must_use]
    pub fn read(code: u16, body: &[u8]) -> Self {
        let mut status: Self = serde_json::from_slice(body).unwrap_or_default();
        status.code = code;
        if status.message.is_empty() {
            let text = String::from_utf8_lossy(body);
            status.message = format!(
                "HTTP status {code}: {}",
                crate::system::one_line(text.trim())
            );
        }
        status.message = status.message.chars().take(MAX_MESSAGE_CHARS).collect();
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_list_says_how_to_go_on() {
        let body = br#"{"kind":"Status","metadata":{"continue":"abc"},"status":"Failure","message":"too old","reason":"Expired","code":410}"#;
        let status = Status::read(410, body);
        assert_eq!(
            (status.metadata.token.as_str(), status.reason.as_str()),
            ("abc", "Expired")
        );
    }

    #[test]
    fn what_a_proxy_says_is_a_message() {
        let status = Status::read(502, b"Bad\nGateway");
        assert!(
            status.message.starts_with("HTTP status 502: "),
            "{status:?}"
        );
        assert!(!status.message.contains('\n'));
    }
}
