//! Redirects are followed by hand: one 307, and only to an address that is configured, since the
//! token goes with it; never from https to http.

use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode, Url};

use super::Client;
use super::node::{Node, Pool};
use super::request::Request;
use crate::vault::answer::{self, Answer};
use crate::vault::error::CallError;

impl Client {
    /// Asks a node, and where that is a standby that does not forward, the leader it names.
    pub(super) async fn follow(
        &self,
        node: &Node,
        pool: &Pool,
        request: &Request<'_>,
    ) -> Result<Answer, CallError> {
        let response = node.exchange(pool, request).await?;
        if !response.status().is_redirection() {
            return answer::read(response, request.path, node.label()).await;
        }
        let leader = self
            .leader(node, &response)
            .map_err(|cause| foreign(request, node, &response, cause))?;
        let response = leader.exchange(&leader.pool(), request).await?;
        if response.status().is_redirection() {
            let cause = format!(
                "it was redirected to from {} and redirects to {} itself: is api_addr right on \
                 every server?",
                node.label(),
                place(response.headers())
            );
            return Err(foreign(request, leader, &response, cause));
        }
        let answer = answer::read(response, request.path, leader.label()).await?;
        self.prefer(self.index(node), self.index(leader));
        Ok(answer)
    }

    fn index(&self, of: &Node) -> usize {
        let found = self.nodes.iter().position(|node| std::ptr::eq(node, of));
        found.unwrap_or_default()
    }

    /// The configured node that a standby's redirect names. Only its scheme, host and port count:
    /// what is asked for stays the same.
    fn leader(&self, from: &Node, response: &Response) -> Result<&Node, String> {
        let place = place(response.headers());
        if response.status() != StatusCode::TEMPORARY_REDIRECT {
            return Err(format!(
                "it redirects to {place}, and only a 307 of vault's own is followed: set \
                 vault.address to the server itself"
            ));
        }
        let target = location(response.headers());
        let target = target.ok_or_else(|| format!("it redirects to {place}"))?;
        let is_tls = |node: &Node| node.origin().is_some_and(|url| url.scheme() == "https");
        if is_tls(from) && target.scheme() != "https" {
            return Err(format!(
                "it redirects from https to {place}, which is never followed: set api_addr of \
                 vault to https"
            ));
        }
        let known = self.nodes.iter().find(|node| {
            node.origin()
                .is_some_and(|url| url.origin() == target.origin())
        });
        known.ok_or_else(|| format!("it redirects to {place}, which vault.address does not list"))
    }
}

fn location(headers: &HeaderMap) -> Option<Url> {
    let text = headers.get("location")?.to_str().ok()?;
    Url::parse(text).ok()
}

/// Scheme, host and port of a redirect's target.
fn place(headers: &HeaderMap) -> String {
    location(headers).map_or_else(
        || "nowhere".to_owned(),
        |url| url.origin().ascii_serialization(),
    )
}

fn foreign(request: &Request<'_>, node: &Node, response: &Response, cause: String) -> CallError {
    CallError::UnexpectedResponse {
        path: request.path.to_owned(),
        address: node.label().to_owned(),
        status: response.status().as_u16(),
        cause,
        retry_after: None,
    }
}
