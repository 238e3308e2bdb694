//! Connections to Vault: one HTTP client per address, a request in, a bounded response out.
//!
//! `selection.rs` decides the order of the endpoints; `hedging.rs` decides when a request is sent to
//! another one, or a second time; `readiness.rs` finds an endpoint that can serve.

mod address;
mod endpoint;
mod endpoint_config;
mod hedging;
mod no_proxy;
mod proxy;
mod readiness;
mod redirect;
mod request;
mod resolver;
mod selection;

use std::ops::Range;
use std::sync::{self, Arc, MutexGuard, PoisonError};
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
use selection::{Observation, Selection};

use super::error::CallError;
use super::response::Response;
use super::tls::{self, CertificateReloader, Negotiated, ServerCertificate};
use crate::system::blocking::spawn_blocking;
use crate::telemetry::metrics::Metrics;

/// How long a check of the certificate files may delay a request; files on a network share can
/// hang.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an endpoint that can serve is looked for before a request that is sent only once.
const FIND_READY_TIMEOUT: Duration = Duration::from_secs(2);

/// One Vault or OpenBao, reachable at one address or at several.
#[derive(Debug)]
pub struct Client {
    endpoints: Arc<Vec<Endpoint>>,
    /// What is known of them, and which one is tried first.
    selection: sync::Mutex<Selection>,
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
        let endpoints: Vec<_> = settings
            .addresses
            .iter()
            .map(|address| {
                let config = EndpointConfig::new(address, settings)?;
                let tls = tls.clone().filter(|_| config.speaks_tls);
                Endpoint::new(config, tls)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            selection: sync::Mutex::new(Selection::new(endpoints.len())),
            endpoints: Arc::new(endpoints),
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

    /// What the last handshake with the preferred endpoint negotiated.
    #[must_use]
    pub fn negotiated(&self) -> Option<Negotiated> {
        self.preferred()?.transport().negotiated()
    }

    /// From when and until when the certificates of connections to the preferred endpoint are valid, in
    /// UTC seconds: `server` and `client`, as far as there are any.
    #[must_use]
    pub fn certificates(&self) -> Vec<(&'static str, Range<i64>)> {
        let transport = self.preferred().map(Endpoint::transport);
        let lifetimes = transport.map(|transport| transport.certificates());
        lifetimes
            .into_iter()
            .flatten()
            .filter_map(|(of, lifetime)| Some((of, lifetime?)))
            .collect()
    }

    fn preferred(&self) -> Option<&Endpoint> {
        self.endpoints.get(self.selection().preferred())
    }

    fn selection(&self) -> MutexGuard<'_, Selection> {
        self.selection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request to the preferred endpoint, and to the next ones while none serves it.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Response, CallError> {
        self.reload_certificates(request).await;
        if self.endpoints.len() > 1 && !request.can_be_repeated() {
            // It is sent to one endpoint alone, so one that can serve is found first. Boxed because
            // most requests do without.
            let deadline = request.deadline.min(Instant::now() + FIND_READY_TIMEOUT);
            let _ = Box::pin(self.find_ready(deadline)).await;
        }
        let order = self.selection().order(Instant::now());
        self.send_hedged(order, request).await
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
            let work = spawn_blocking(move || {
                if let Some(tls) = reloader.reload_if_changed() {
                    endpoints.iter().for_each(|endpoint| endpoint.renew(&tls));
                }
            });
            let _ = work.await;
        };
        let _ = timeout(RELOAD_TIMEOUT.min(request.time_left()), reload).await;
    }
}
