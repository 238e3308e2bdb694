//! One endpoint: its address, and its connections.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use reqwest::Url;
use tokio::sync::watch;
use tokio::time::Instant;

use super::endpoint_config::EndpointConfig;
use super::proxy::Proxy;
use super::request::Request;
use crate::diagnosis::Diagnosis;
use crate::telemetry::events;
use crate::telemetry::spans::RequestSpan;
use crate::vault::error::{CallError, Progress};
use crate::vault::tls::{self, BuildError, Negotiated, ServerCertificate, Tls};

/// An address and its connections.
#[derive(Debug)]
pub(super) struct Endpoint {
    config: EndpointConfig,
    transport: RwLock<Arc<Transport>>,
}

/// A pool of connections with the same certificates.
#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    tls: Option<Tls>,
    /// When a response last began to arrive.
    last_response_at: watch::Sender<Option<Instant>>,
}

impl Endpoint {
    pub(super) fn new(config: EndpointConfig, tls: Option<Tls>) -> Result<Self, BuildError> {
        let transport = Transport::new(&config, tls)?;
        Ok(Self {
            config,
            transport: RwLock::new(Arc::new(transport)),
        })
    }

    /// The address for an operator, with the proxy in front of it.
    pub(super) fn label(&self) -> &str {
        &self.config.label
    }

    /// The URL by which a redirect can name it.
    pub(super) fn origin(&self) -> Option<&Url> {
        self.config.origin.as_ref()
    }

    pub(super) fn transport(&self) -> Arc<Transport> {
        let transport = self.transport.read();
        transport.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Uses these certificates for new connections; requests in progress are not affected.
    pub(super) fn renew(&self, tls: &Tls) {
        if self.config.speaks_tls {
            self.set_transport(Some(tls.clone()));
        }
    }

    /// Abandons the connections of `before`, unless that was done meanwhile or none of them was
    /// ever used. Returns whether it did.
    pub(super) fn replace(&self, before: &Arc<Transport>) -> bool {
        let current = self.transport();
        let is_due = Arc::ptr_eq(&current, before) && !before.is_fresh();
        if is_due {
            self.set_transport(current.tls.clone());
        }
        is_due
    }

    fn set_transport(&self, tls: Option<Tls>) {
        match Transport::new(&self.config, tls) {
            Ok(transport) => {
                let current = self.transport.write();
                *current.unwrap_or_else(PoisonError::into_inner) = Arc::new(transport);
            }
            Err(error) => events::ConnectionsNotRebuilt {
                error: error.to_string(),
            }
            .emit(),
        }
    }

    /// Sends the request and waits for the head of the response.
    pub(super) async fn exchange(
        &self,
        transport: &Transport,
        request: &Request<'_>,
    ) -> Result<reqwest::Response, CallError> {
        #[cfg(test)]
        if let Some(outside) = crate::system::simulated::outside() {
            return self.simulate(&*outside, transport, request).await;
        }
        let mut url = self.config.base.clone();
        url.set_path(&format!("{}v1/{}", self.config.base.path(), request.path));
        url.set_query(request.query);
        let span = RequestSpan::begin(&request.method, &url);
        let mut call = transport
            .http
            .request(request.method.clone(), url)
            .headers(request.headers());
        if let Some(body) = &request.body {
            call = call.body(body.clone());
        }
        let response = call.send().await;
        let response = response.map_err(|error| self.unreachable(transport, request, &error));
        span.end(response.as_ref().map(reqwest::Response::status));
        let response = response?;
        transport.record_response();
        Ok(response)
    }

    #[cfg(test)]
    async fn simulate(
        &self,
        outside: &dyn crate::system::simulated::Outside,
        transport: &Transport,
        request: &Request<'_>,
    ) -> Result<reqwest::Response, CallError> {
        let response = outside.vault(request.to_simulated(self.label())).await;
        let response = response.map_err(|sent| CallError::Unreachable {
            path: request.path.to_owned(),
            address: self.label().to_owned(),
            cause: Diagnosis::new("simulated"),
            progress: if sent.0 {
                Progress::PerhapsSent
            } else {
                Progress::NotConnected
            },
        })?;
        transport.record_response();
        Ok(response.into())
    }

    fn unreachable(
        &self,
        transport: &Transport,
        request: &Request<'_>,
        error: &reqwest::Error,
    ) -> CallError {
        let progress = match (error.is_connect(), error.is_timeout()) {
            (true, true) => Progress::ConnectTimedOut,
            (true, false) => Progress::NotConnected,
            (false, _) => Progress::PerhapsSent,
        };
        let cause = if progress == Progress::ConnectTimedOut {
            let timeout = humantime::format_duration(self.config.connect_timeout);
            Diagnosis::new(format!("no connection within {timeout}"))
        } else {
            Proxy::explain(transport.diagnose(error))
        };
        CallError::Unreachable {
            path: request.path.to_owned(),
            address: self.label().to_owned(),
            cause,
            progress,
        }
    }
}

impl Transport {
    fn new(config: &EndpointConfig, tls: Option<Tls>) -> Result<Self, BuildError> {
        let http = config.client(tls.as_ref())?;
        Ok(Self {
            http,
            tls,
            last_response_at: watch::Sender::new(None),
        })
    }

    /// Whether no response has come over any of its connections yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.last_response_at.borrow().is_none()
    }

    pub(super) fn responded_since(&self, time: Instant) -> bool {
        let last = *self.last_response_at.borrow();
        last.is_some_and(|last| last >= time)
    }

    fn record_response(&self) {
        self.last_response_at.send_replace(Some(Instant::now()));
    }

    /// Returns once a response has come over one of its connections.
    pub(super) async fn first_response(&self) {
        // Fails only if the sender is gone, which lives as long as this.
        let mut responses = self.last_response_at.subscribe();
        let _ = responses.wait_for(Option::is_some).await;
    }

    pub(super) fn server_certificate(&self) -> Option<ServerCertificate> {
        self.tls.as_ref()?.last.certificate()
    }

    pub(super) fn negotiated(&self) -> Option<Negotiated> {
        self.tls.as_ref()?.last.negotiated()
    }

    /// From when and until when the certificates of the server and of the client are valid.
    pub(super) fn certificates(&self) -> [(&'static str, Option<Range<i64>>); 2] {
        let server = self.server_certificate();
        let tls = self.tls.as_ref();
        let client = tls.and_then(|tls| tls.client_cert.lifetime());
        [
            ("server", server.map(|it| it.not_before..it.not_after)),
            ("client", client),
        ]
    }

    fn diagnose(&self, error: &reqwest::Error) -> Diagnosis {
        let tls = self.tls.as_ref();
        let client_cert = tls.and_then(|tls| tls.client_cert.remark());
        // A connection that was used before was not refused for its certificate.
        let mention_client_cert = self.is_fresh() && !error.is_connect();
        tls::diagnose(error, client_cert, mention_client_cert)
    }
}
