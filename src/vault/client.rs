//! Connections to Vault: one HTTP client per address, a request in, a bounded response out.
//!
//! The order of the endpoints is decided here; when a request is sent a second time, in
//! `hedging.rs`.

mod address;
mod endpoint;
mod endpoint_config;
mod endpoint_health;
mod hedging;
mod no_proxy;
mod proxy;
mod redirect;
mod request;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub use super::tls::{BuildError, ClientCertificate};
pub use address::Address;
use endpoint::Endpoint;
pub use endpoint_config::Settings;
use endpoint_config::{EndpointConfig, tls_settings};
pub use proxy::{InvalidProxy, Proxies, Proxy};
pub(super) use request::Request;

use super::error::CallError;
use super::response::Response;
use super::tls::{self, CertificateReloader, ServerCertificate};
use crate::diagnosis::Diagnosis;
use crate::telemetry::metrics::Metrics;

/// How long a check of the certificate files may delay a request; files on a network share can
/// hang.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(1);

/// One Vault or OpenBao, reachable at one address or at several.
#[derive(Debug)]
pub struct Client {
    endpoints: Arc<Vec<Endpoint>>,
    /// The index of the endpoint to try first: the one that answered last.
    preferred: AtomicUsize,
    /// The certificate files; `None` if no endpoint speaks TLS.
    certificates: Option<Arc<Mutex<CertificateReloader>>>,
    metrics: Metrics,
}

impl Client {
    /// Prepares the connections; opens none. Requests are counted in `metrics`.
    ///
    /// # Errors
    /// If a certificate file cannot be read or used.
    pub fn new(settings: &Settings, metrics: Metrics) -> Result<Self, BuildError> {
        tls::install_provider();
        let mut certificates = None;
        let mut tls = None;
        // Without TLS the system's CAs need not be loaded.
        if settings.addresses.iter().any(Address::is_tls) {
            let (reloader, current) = CertificateReloader::new(tls_settings(settings))?;
            certificates = Some(Arc::new(Mutex::new(reloader)));
            tls = Some(current);
        }
        let endpoints = settings
            .addresses
            .iter()
            .map(|address| {
                let config = EndpointConfig::new(address, settings)?;
                let tls = tls.clone().filter(|_| config.speaks_tls);
                Endpoint::new(config, tls)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            endpoints: Arc::new(endpoints),
            preferred: AtomicUsize::new(0),
            certificates,
            metrics,
        })
    }

    /// The metrics that count its requests.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The address that is tried first, for an operator.
    #[must_use]
    pub fn address(&self) -> String {
        self.preferred()
            .map_or_else(String::new, |endpoint| endpoint.label().to_owned())
    }

    /// The certificate with which the preferred endpoint was last accepted.
    #[must_use]
    pub fn server_certificate(&self) -> Option<ServerCertificate> {
        self.preferred()?.transport().server_certificate()
    }

    /// Until when the certificates of connections to the preferred endpoint are valid, in UTC
    /// seconds: `server` and `client`, as far as there are any.
    #[must_use]
    pub fn certificate_ends(&self) -> Vec<(&'static str, i64)> {
        let transport = self.preferred().map(Endpoint::transport);
        let ends = transport.map(|transport| transport.certificate_ends());
        ends.into_iter()
            .flatten()
            .filter_map(|(of, end)| Some((of, end?)))
            .collect()
    }

    fn preferred(&self) -> Option<&Endpoint> {
        self.endpoints.get(self.preferred.load(Ordering::Relaxed))
    }

    /// Sends a request to the preferred endpoint, and to the next ones while none is reachable.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Response, CallError> {
        self.reload_certificates(&request).await;
        self.find_responsive_endpoint(&request).await;
        let first = self.preferred.load(Ordering::Relaxed);
        let mut remaining = self.order(first).into_iter().peekable();
        loop {
            let Some(index) = remaining.next() else {
                return Err(no_endpoint(&request));
            };
            let next = remaining.peek().copied();
            let (answered, outcome) = self.send_hedged(index, next, &request).await;
            if outcome.is_ok() {
                self.prefer(first, answered);
            }
            if next.is_none() || !matches!(outcome, Err(CallError::Unreachable { .. })) {
                return outcome;
            }
        }
    }

    /// A request that cannot be repeated would wait for an unresponsive endpoint until its
    /// deadline. With several endpoints, one that responds is found first.
    async fn find_responsive_endpoint(&self, request: &Request<'_>) {
        if self.endpoints.len() > 1 && !request.can_be_repeated() {
            // Boxed because it is recursive; whatever the result, it updates the health of the
            // endpoints.
            let _ = Box::pin(self.health(request.deadline)).await;
        }
    }

    /// All endpoints by priority, which begins with the preferred one and other healthy ones.
    fn order(&self, first: usize) -> Vec<usize> {
        let count = self.endpoints.len();
        let mut order: Vec<_> = (0..count).map(|step| (first + step) % count).collect();
        let now = Instant::now();
        order.sort_by_key(|index| self.endpoints[*index].health().priority(now));
        order
    }

    /// Prefers another endpoint from now on, unless another call has changed that meanwhile.
    fn prefer(&self, before: usize, now: usize) {
        let order = Ordering::Relaxed;
        let _ = self.preferred.compare_exchange(before, now, order, order);
    }

    /// Uses changed certificate files for new connections. A login always checks them: with the
    /// method `cert` the certificate is the credential.
    async fn reload_certificates(&self, request: &Request<'_>) {
        let Some(certificates) = &self.certificates else {
            return;
        };
        let reload = async {
            let mut reloader = if request.is_login() {
                certificates.clone().lock_owned().await
            } else {
                match certificates.clone().try_lock_owned() {
                    Ok(reloader) if reloader.is_due() => reloader,
                    _ => return,
                }
            };
            let endpoints = self.endpoints.clone();
            // On a thread of its own, because a network share can hang; it continues after the
            // timeout.
            let work = tokio::task::spawn_blocking(move || {
                if let Some(tls) = reloader.reload_if_changed() {
                    endpoints.iter().for_each(|endpoint| endpoint.renew(&tls));
                }
            });
            let _ = work.await;
        };
        let _ = timeout(RELOAD_TIMEOUT.min(request.time_left()), reload).await;
    }
}

/// Does not happen: settings hold at least one address.
fn no_endpoint(request: &Request<'_>) -> CallError {
    CallError::Unreachable {
        path: request.path.to_owned(),
        address: "vault".to_owned(),
        cause: Diagnosis::new("vault.address is empty"),
    }
}
