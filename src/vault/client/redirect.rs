//! Redirects are followed by hand: one 307, only to a configured address, since the token is sent
//! there, and never from https to http.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};

use super::Client;
use super::endpoint::{Endpoint, Transport};
use super::request::Request;
use crate::diagnosis::Diagnosis;
use crate::vault::error::CallError;
use crate::vault::response::{self, Response};

impl Client {
    /// Sends a request to an endpoint, and to the leader if the endpoint is a standby that
    /// redirects instead of forwarding. `asked` is set to the endpoint whose response is awaited.
    pub(super) async fn follow_redirect(
        &self,
        endpoint: &Endpoint,
        transport: &Transport,
        request: &Request<'_>,
        asked: &AtomicUsize,
    ) -> Result<Response, CallError> {
        let http = endpoint.exchange(transport, request).await?;
        if !http.status().is_redirection() {
            return response::read(http, request.path, endpoint.label(), request.secrets()).await;
        }
        let leader = self
            .redirect_target(endpoint, &http)
            .map_err(|cause| unexpected(request, endpoint, &http, cause))?;
        asked.store(self.index(leader), Ordering::Relaxed);
        let http = leader.exchange(&leader.transport(), request).await?;
        if http.status().is_redirection() {
            let cause = Diagnosis::new(format!(
                "it was redirected to from {} and redirects to {} itself",
                endpoint.label(),
                origin(http.headers())
            ))
            .with_remedy("check api_addr on every server");
            return Err(unexpected(request, leader, &http, cause));
        }
        let response =
            response::read(http, request.path, leader.label(), request.secrets()).await?;
        self.selection()
            .prefer(self.index(endpoint), self.index(leader));
        Ok(response)
    }

    fn index(&self, of: &Endpoint) -> usize {
        let found = self.endpoints.iter().position(|it| std::ptr::eq(it, of));
        found.unwrap_or_default()
    }

    /// The configured endpoint that a standby's redirect names. Only its scheme, host and port
    /// count: the path stays that of the request.
    fn redirect_target(
        &self,
        from: &Endpoint,
        http: &reqwest::Response,
    ) -> Result<&Endpoint, Diagnosis> {
        let Some(target) = location(http.headers()) else {
            return Err(Diagnosis::new("redirect without a usable Location"));
        };
        let origin = origin(http.headers());
        if http.status() != StatusCode::TEMPORARY_REDIRECT {
            let cause = Diagnosis::new(format!(
                "it redirects to {origin}, and only a 307 of Vault's own is followed"
            ));
            return Err(cause.with_remedy("set vault.address to the server itself"));
        }
        let is_tls = from.origin().is_some_and(|url| url.scheme() == "https");
        if is_tls && target.scheme() != "https" {
            let cause = Diagnosis::new(format!(
                "it redirects from https to {origin}, which is never followed"
            ));
            return Err(cause.with_remedy("set api_addr of Vault to https"));
        }
        let known = self.endpoints.iter().find(|endpoint| {
            let origin = endpoint.origin().map(Url::origin);
            origin == Some(target.origin())
        });
        known.ok_or_else(|| {
            Diagnosis::new(format!(
                "it redirects to {origin}, which vault.address does not list"
            ))
        })
    }
}

fn location(headers: &HeaderMap) -> Option<Url> {
    let text = headers.get("location")?.to_str().ok()?;
    Url::parse(text).ok()
}

/// Scheme, host and port of a redirect's target.
fn origin(headers: &HeaderMap) -> String {
    location(headers).map_or_else(
        || "an unusable Location".to_owned(),
        |url| url.origin().ascii_serialization(),
    )
}

fn unexpected(
    request: &Request<'_>,
    endpoint: &Endpoint,
    http: &reqwest::Response,
    cause: Diagnosis,
) -> CallError {
    CallError::UnexpectedResponse {
        path: request.path.to_owned(),
        address: endpoint.label().to_owned(),
        status: http.status().as_u16(),
        cause,
        retry_after: None,
    }
}
