//! Connections to Vault: one HTTP client per address, a request in, a bounded answer out.
//!
//! Redirects are followed by hand, once, and only to an address that is configured: the token
//! goes nowhere else.

mod address;
mod build;

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use tokio::time::{Instant, timeout_at};

pub use address::Address;
pub use build::{BuildError, ClientCertificate, Settings};

use super::answer::{self, Answer};
use super::error::CallError;
use super::names::Namespace;
use super::secret::Token;

/// One Vault or OpenBao, reachable at one address or at several.
#[derive(Debug)]
pub struct Client {
    nodes: Vec<Node>,
    /// The node to ask first: the one that answered last, or that comes after one that hung.
    preferred: AtomicUsize,
}

/// An address and its connections.
#[derive(Debug)]
struct Node {
    base: Url,
    label: String,
    http: reqwest::Client,
}

/// One request. `path` is below `/v1/`.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) namespace: Option<&'a Namespace>,
    pub(super) token: Option<&'a Token>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) deadline: Instant,
}

impl Client {
    /// Prepares the connections; opens none.
    ///
    /// # Errors
    /// When a certificate file cannot be read or used.
    pub fn new(settings: &Settings) -> Result<Self, BuildError> {
        Ok(Self {
            nodes: build::nodes(settings)?,
            preferred: AtomicUsize::new(0),
        })
    }

    /// Sends a request to the preferred node, and to the next ones while none can be reached.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Answer, CallError> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut asked = first;
        let mut outcome = self.send_to(asked, &request).await;
        for step in 1..self.nodes.len() {
            if !matches!(outcome, Err(CallError::Unreachable { .. })) {
                break;
            }
            asked = (first + step) % self.nodes.len();
            outcome = self.send_to(asked, &request).await;
        }
        match &outcome {
            Ok(_) => self.prefer(first, asked),
            // Nothing is left of this call's time, but the next call need not wait for the same
            // node: one that hangs still accepts connections.
            Err(CallError::TimedOut { .. }) => self.prefer(first, (asked + 1) % self.nodes.len()),
            Err(_) => {}
        }
        outcome
    }

    /// Asks another node first from now on, unless another call has changed that meanwhile.
    fn prefer(&self, before: usize, now: usize) {
        let order = Ordering::Relaxed;
        let _ = self.preferred.compare_exchange(before, now, order, order);
    }

    async fn send_to(&self, index: usize, request: &Request<'_>) -> Result<Answer, CallError> {
        let node = &self.nodes[index];
        let exchange = async {
            let response = node.exchange(request).await?;
            if response.status() != StatusCode::TEMPORARY_REDIRECT {
                return answer::read(response, request.path, &node.label).await;
            }
            let leader = self.leader(response.headers(), request, node)?;
            let response = leader.exchange(request).await?;
            answer::read(response, request.path, &leader.label).await
        };
        timeout_at(request.deadline, exchange)
            .await
            .unwrap_or_else(|_| {
                Err(CallError::TimedOut {
                    path: request.path.to_owned(),
                    address: node.label.clone(),
                })
            })
    }

    /// The configured node that a standby's redirect names.
    fn leader(
        &self,
        headers: &HeaderMap,
        request: &Request<'_>,
        from: &Node,
    ) -> Result<&Node, CallError> {
        let target = headers
            .get("location")
            .and_then(|value| value.to_str().ok())
            .and_then(|text| Url::parse(text).ok());
        let known = target.as_ref().and_then(|url| {
            self.nodes
                .iter()
                .find(|node| node.base.origin() == url.origin())
        });
        known.ok_or_else(|| CallError::Foreign {
            path: request.path.to_owned(),
            address: from.label.clone(),
            status: StatusCode::TEMPORARY_REDIRECT.as_u16(),
            cause: match target {
                Some(url) => format!(
                    "it redirects to {}, which vault.address does not list",
                    url.origin().ascii_serialization()
                ),
                None => "it redirects to nowhere".to_owned(),
            },
        })
    }
}

impl Node {
    async fn exchange(&self, request: &Request<'_>) -> Result<reqwest::Response, CallError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}v1/{}", self.base.path(), request.path));
        url.set_query(request.query);
        let mut call = self
            .http
            .request(request.method.clone(), url)
            .headers(headers(request));
        if let Some(body) = &request.body {
            call = call.body(body.clone());
        }
        call.send().await.map_err(|error| CallError::Unreachable {
            path: request.path.to_owned(),
            address: self.label.clone(),
            cause: answer::root_cause(&error),
        })
    }
}

fn headers(request: &Request<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Agents and proxies refuse requests without it (OpenBao `command/agent.go`).
    headers.insert("x-vault-request", HeaderValue::from_static("true"));
    let namespace = request.namespace.map_or("", Namespace::as_str);
    if let (false, Ok(value)) = (namespace.is_empty(), HeaderValue::from_str(namespace)) {
        headers.insert("x-vault-namespace", value);
    }
    if let Some(Ok(mut value)) = request
        .token
        .map(|token| HeaderValue::from_str(token.expose_secret()))
    {
        value.set_sensitive(true);
        headers.insert("x-vault-token", value);
    }
    headers
}
