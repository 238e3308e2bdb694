//! One request, and what may be done with it.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use crate::vault::names::Namespace;
use crate::vault::secret::Token;

/// One request. `path` is below `/v1/`.
#[derive(Debug)]
pub(in crate::vault) struct Request<'a> {
    pub(in crate::vault) method: Method,
    pub(in crate::vault) path: &'a str,
    pub(in crate::vault) query: Option<&'a str>,
    pub(in crate::vault) namespace: Option<&'a Namespace>,
    pub(in crate::vault) token: Option<&'a Token>,
    pub(in crate::vault) body: Option<Vec<u8>>,
    pub(in crate::vault) deadline: Instant,
}

impl Request<'_> {
    /// Whether asking twice does no harm. A login can use up a secret_id, an unwrap works once.
    pub(super) fn can_be_repeated(&self) -> bool {
        let once = self.path.starts_with("auth/") || self.path.starts_with("sys/");
        self.method == Method::GET || !once
    }

    /// Whether it asks for a token.
    pub(super) fn is_login(&self) -> bool {
        self.token.is_none() && self.method == Method::POST
    }

    /// What it asks for, in a word of a fixed set, for the metrics.
    pub(super) fn operation(&self) -> &'static str {
        let path = self.path;
        match path.rsplit('/').nth(1) {
            _ if self.is_login() => "login",
            _ if path.starts_with("sys/wrapping/") => "unwrap",
            _ if path.starts_with("sys/") => "health",
            _ if path.ends_with("auth/token/renew-self") => "renew",
            _ if path.starts_with("auth/token/") => "token",
            Some("encrypt") => "encrypt",
            Some("decrypt") => "decrypt",
            Some("keys") => "read_key",
            _ => "other",
        }
    }

    pub(super) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        // Agents and proxies refuse requests without it (OpenBao `command/agent.go`).
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        let namespace = self.namespace.map_or("", Namespace::as_str);
        if let (false, Ok(value)) = (namespace.is_empty(), HeaderValue::from_str(namespace)) {
            headers.insert("x-vault-namespace", value);
        }
        if let Some(Ok(mut value)) = self
            .token
            .map(|token| HeaderValue::from_str(token.expose_secret()))
        {
            value.set_sensitive(true);
            headers.insert("x-vault-token", value);
        }
        headers
    }
}
