//! One request to Vault, and whether it may be repeated.

use std::fmt;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{self, HeaderMap, HeaderValue};
use serde_json::Value;
use tokio::time::Instant;

use crate::vault::names::Namespace;
use crate::vault::redaction::Secrets;
use crate::vault::secret::Token;

/// What Vault's audit log shows of the client.
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// One request. `path` is below `/v1/`.
#[derive(Debug)]
pub(in crate::vault) struct Request<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) deadline: Instant,
    namespace: Option<&'a Namespace>,
    token: Option<&'a Token>,
    /// Names the request in the log here and in Vault's audit log.
    pub(super) id: RequestId,
}

/// Random: requests of all nodes differ.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestId(u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl<'a> Request<'a> {
    pub(in crate::vault) fn get(path: &'a str, deadline: Instant) -> Self {
        Self::new(Method::GET, path, deadline)
    }

    pub(in crate::vault) fn post(path: &'a str, deadline: Instant) -> Self {
        Self::new(Method::POST, path, deadline)
    }

    fn new(method: Method, path: &'a str, deadline: Instant) -> Self {
        Self {
            method,
            path,
            query: None,
            body: None,
            deadline,
            namespace: None,
            token: None,
            id: RequestId(fastrand::u64(..)),
        }
    }

    pub(in crate::vault) fn query(mut self, query: &'a str) -> Self {
        self.query = Some(query);
        self
    }

    pub(in crate::vault) fn namespace(mut self, namespace: &'a Namespace) -> Self {
        self.namespace = Some(namespace);
        self
    }

    pub(in crate::vault) fn token(mut self, token: &'a Token) -> Self {
        self.token = Some(token);
        self
    }

    pub(in crate::vault) fn json(self, body: &Value) -> Self {
        self.body(body.to_string().into_bytes())
    }

    pub(in crate::vault) fn body(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self
    }

    /// Whether repeating it does no harm. A login can use up a secret_id, an unwrap works once, and each
    /// rotation makes a version.
    pub(super) fn can_be_repeated(&self) -> bool {
        let is_rotation = cfg!(feature = "kmsctl") && self.path.ends_with("/rotate");
        !(self.is_login() || self.path == "sys/wrapping/unwrap" || is_rotation)
    }

    /// Whether it requests a token.
    pub(super) fn is_login(&self) -> bool {
        self.token.is_none() && self.path.starts_with("auth/")
    }

    /// Whether it asks a server about itself: a response does not show that it can serve.
    pub(super) fn is_about_server(&self) -> bool {
        matches!(self.path, "sys/health" | "sys/leader")
    }

    /// The operation, as a label of a fixed set for the metrics.
    pub(super) fn operation(&self) -> &'static str {
        let path = self.path;
        match path.rsplit('/').nth(1) {
            _ if self.is_login() => "login",
            _ if path.starts_with("sys/wrapping/") => "unwrap",
            _ if self.is_about_server() => "health",
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

    /// What no error may repeat.
    pub(in crate::vault) fn secrets(&self) -> Secrets<'_> {
        Secrets::of(self.token, self.body.as_deref())
    }

    #[cfg(test)]
    pub(super) fn to_simulated(&self, address: &str) -> crate::system::simulated::ToVault {
        crate::system::simulated::ToVault {
            address: address.to_owned(),
            method: self.method.to_string(),
            path: self.path.to_owned(),
            token: self.token.map(|token| token.expose_secret().to_owned()),
            body: self.body.clone().unwrap_or_default(),
        }
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        // Vault Agent and Proxy refuse requests without it (OpenBao `command/agent.go`).
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        // In the audit log of Vault once it is configured there (docs/troubleshooting.md).
        if let Ok(id) = HeaderValue::from_str(&self.id.to_string()) {
            headers.insert("x-correlation-id", id);
        }
        let namespace = self.namespace.map_or("", Namespace::as_str);
        if !namespace.is_empty()
            && let Ok(value) = HeaderValue::from_str(namespace)
        {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::try_new("hvs.secret").expect("a token")
    }

    #[test]
    fn what_spends_something_is_not_repeated() {
        let (token, deadline) = (token(), Instant::now());
        let table = [
            ("auth/approle/login", false, false),
            ("auth/token/lookup-self", true, true),
            ("auth/token/renew-self", true, true),
            ("sys/wrapping/unwrap", false, false),
            ("sys/wrapping/lookup", false, true),
            ("transit/keys/kms/rotate", true, !cfg!(feature = "kmsctl")),
            ("transit/encrypt/kms", true, true),
        ];
        for (path, with_token, can_be_repeated) in table {
            let mut request = Request::post(path, deadline);
            if with_token {
                request = request.token(&token);
            }
            assert_eq!(request.can_be_repeated(), can_be_repeated, "{path}");
        }
    }

    #[test]
    fn a_request_has_the_label_of_its_operation() {
        let (token, deadline) = (token(), Instant::now());
        let label = |path, with_token: bool| {
            let request = Request::post(path, deadline);
            let request = if with_token {
                request.token(&token)
            } else {
                request
            };
            assert_eq!(request.is_about_server(), request.operation() == "health");
            assert_eq!(request.is_login(), request.operation() == "login");
            request.operation()
        };
        for (path, operation) in [
            ("auth/kubernetes/login", "login"),
            ("auth/token/lookup-self", "login"),
            ("sys/wrapping/unwrap", "unwrap"),
            ("sys/health", "health"),
            ("sys/leader", "health"),
        ] {
            assert_eq!(label(path, false), operation, "{path}");
        }
        for (path, operation) in [
            ("auth/token/renew-self", "renew"),
            ("auth/token/lookup-self", "token"),
            ("sys/wrapping/lookup", "unwrap"),
            ("team/transit/encrypt/kms", "encrypt"),
            ("team/transit/decrypt/kms", "decrypt"),
            ("team/transit/keys/kms", "read_key"),
            ("sys/capabilities-self", "other"),
            ("transit/keys/kms/rotate", "other"),
        ] {
            assert_eq!(label(path, true), operation, "{path}");
        }
    }

    #[test]
    fn the_headers_name_the_client_the_request_the_namespace_and_the_token() {
        let (token, deadline) = (token(), Instant::now());
        let namespace = Namespace::try_new("a/b").expect("valid");
        let root = Namespace::default();
        let request = Request::get("transit/keys/kms", deadline);
        let id = request.id.to_string();
        assert_eq!(id.len(), 16, "{id}");
        let headers = request.headers();
        let value = |headers: &HeaderMap, name: &str| {
            headers
                .get(name)
                .map(|it| it.to_str().expect("text").to_owned())
        };
        assert_eq!(value(&headers, "x-vault-request").as_deref(), Some("true"));
        assert_eq!(value(&headers, "user-agent").as_deref(), Some(USER_AGENT));
        assert_eq!(value(&headers, "x-correlation-id"), Some(id));
        assert_eq!(value(&headers, "x-vault-namespace"), None);
        assert_eq!(value(&headers, "x-vault-token"), None);
        let request = request.namespace(&namespace).token(&token);
        let headers = request.headers();
        assert_eq!(value(&headers, "x-vault-namespace").as_deref(), Some("a/b"));
        assert_eq!(
            value(&headers, "x-vault-token").as_deref(),
            Some("hvs.secret")
        );
        assert!(!format!("{headers:?}").contains("hvs.secret"));
        let headers = request.namespace(&root).headers();
        assert_eq!(value(&headers, "x-vault-namespace"), None);
    }

    #[test]
    fn an_error_repeats_neither_the_token_nor_the_secrets_of_the_body() {
        let token = token();
        let request = Request::post("auth/userpass/login/u", Instant::now()).token(&token);
        let request = request.json(&serde_json::json!({ "password": "correct horse" }));
        let text = request
            .secrets()
            .redact("hvs.secret, correct horse")
            .into_owned();
        assert!(
            !text.contains("hvs.secret") && !text.contains("correct horse"),
            "{text}"
        );
    }
}
