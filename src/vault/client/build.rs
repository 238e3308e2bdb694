//! Turns settings into HTTP clients: proxies, server name, sockets, limits.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Name, Resolve, Resolving};
use reqwest::{ClientBuilder, Url, redirect};

use super::node::Node;
use super::proxy::{Proxies, Proxy};
use super::{Address, ClientCertificate};
use crate::vault::answer::root_cause;
pub(super) use crate::vault::tls::BuildError;
use crate::vault::tls::{self, Tls, TlsSettings, Watch};

/// How long a connection may take to come up. With several addresses the next one must still get
/// its turn inside kube-apiserver's 3 s.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// The same with one address, where giving up early gains nothing but that the error can say so:
/// to a call inside those 3 s, and to the session, which gives Vault 2 s to tell its health.
const CONNECT_LIMIT_ALONE: Duration = Duration::from_millis(1800);
/// A connection's buffers keep the token and the seeds that they last carried, for as long as it
/// lives: the libraries' buffers cannot be wiped from outside. One that is idle is looked for as
/// often as this says, so it is gone after twice the time. It is also shorter than the idle limits
/// of load balancers, so that a dead connection is not picked.
const POOL_IDLE: Duration = Duration::from_millis(750);
/// A kept connection is probed after this time, so that routers do not forget it and one whose peer
/// is gone is closed before it is picked.
const PROBE_AFTER: Duration = Duration::from_secs(10);
/// Probes are repeated so often …
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// … and this many times.
const PROBES: u32 = 2;
/// What was sent and not acknowledged for so long will not be: the peer is gone.
const UNACKNOWLEDGED: Duration = Duration::from_secs(3);

/// Where Vault is and how to trust it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Tried in this order; at least one.
    pub addresses: Vec<Address>,
    /// PEM certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// A directory of such files. With `ca_file` both are trusted.
    pub ca_dir: Option<PathBuf>,
    /// The name that the server's certificate has to hold, where it is not the address's host.
    pub tls_server_name: Option<String>,
    /// What is shown to a server that asks for a certificate.
    pub client_certificate: Option<ClientCertificate>,
    /// Between here and Vault.
    pub proxies: Proxies,
}

/// All that makes the connections to one address alike, but for the certificates.
#[derive(Debug)]
pub(super) struct Recipe {
    /// What requests are made to: with a server name of its own not the address.
    pub(super) base: Url,
    /// Where it can be redirected to; a socket cannot.
    pub(super) origin: Option<Url>,
    pub(super) label: String,
    pub(super) speaks_tls: bool,
    pub(super) connect_limit: Duration,
    socket: Option<PathBuf>,
    proxy: Option<Proxy>,
    resolver: Option<HostOf>,
}

/// Looks another name up than the one it is asked for: the certificate's name stands in the URL,
/// and this finds the machine.
#[derive(Debug, Clone)]
struct HostOf {
    host: String,
    port: u16,
}

pub(super) fn nodes(settings: &Settings) -> Result<(Vec<Node>, Option<Watch>), BuildError> {
    tls::install_provider();
    let speaks_tls = settings.addresses.iter().any(Address::is_tls);
    let (watch, tls) = match speaks_tls {
        true => {
            let (watch, tls) = Watch::new(tls_settings(settings))?;
            (Some(watch), Some(tls))
        }
        // Else the system's roots would be loaded, for nothing.
        false => (None, None),
    };
    let nodes = settings
        .addresses
        .iter()
        .map(|address| {
            let recipe = Recipe::new(address, settings)?;
            let tls = tls.clone().filter(|_| recipe.speaks_tls);
            Node::new(recipe, tls)
        })
        .collect::<Result<_, _>>()?;
    Ok((nodes, watch))
}

fn tls_settings(settings: &Settings) -> TlsSettings {
    TlsSettings {
        ca_file: settings.ca_file.clone(),
        ca_dir: settings.ca_dir.clone(),
        server_name: settings.tls_server_name.clone(),
        client_certificate: settings.client_certificate.clone(),
    }
}

impl Recipe {
    fn new(address: &Address, settings: &Settings) -> Result<Self, BuildError> {
        let proxy = settings.proxies.for_address(address);
        let mut recipe = Self {
            base: address.url().clone(),
            origin: address.socket().is_none().then(|| address.url().clone()),
            label: match &proxy {
                Some(proxy) => format!("{address} (through the proxy {})", proxy.place()),
                None => address.to_string(),
            },
            speaks_tls: address.is_tls(),
            connect_limit: match settings.addresses.len() {
                1 => CONNECT_LIMIT_ALONE,
                _ => CONNECT_LIMIT,
            },
            socket: address.socket().map(PathBuf::from),
            proxy,
            resolver: None,
        };
        if let (Some(name), true) = (&settings.tls_server_name, recipe.speaks_tls) {
            recipe.call_it(name)?;
        }
        Ok(recipe)
    }

    /// Puts the server's name into the URL, so that the server is told it too. A proxy has to be
    /// given the address itself; the certificate is checked for the name all the same.
    fn call_it(&mut self, name: &str) -> Result<(), BuildError> {
        if self.proxy.is_some() {
            return Ok(());
        }
        let host = self.base.host_str().unwrap_or_default();
        self.resolver = Some(HostOf {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: self.base.port_or_known_default().unwrap_or(443),
        });
        self.base.set_host(Some(name)).map_err(|error| BuildError {
            key: "vault.tls_server_name",
            cause: format!("{name:?} is no host name: {error}"),
        })
    }

    /// A client without any connection yet.
    pub(super) fn client(&self, tls: Option<&Tls>) -> Result<reqwest::Client, BuildError> {
        let mut builder = ClientBuilder::new()
            .redirect(redirect::Policy::none())
            // The environment was read with the configuration.
            .no_proxy()
            .connect_timeout(self.connect_limit)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_nodelay(true)
            .tcp_keepalive(PROBE_AFTER)
            .tcp_keepalive_interval(PROBE_EVERY)
            .tcp_keepalive_retries(PROBES)
            .tcp_user_timeout(UNACKNOWLEDGED);
        if let Some(socket) = &self.socket {
            builder = builder.unix_socket(socket.as_path());
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.to_reqwest()?);
        }
        if let Some(resolver) = &self.resolver {
            builder = builder.dns_resolver(Arc::new(resolver.clone()));
        }
        builder = match tls {
            Some(tls) => builder.tls_backend_preconfigured(tls.config.clone()),
            // Without this the system's roots are loaded, for nothing.
            None => builder.tls_certs_only([]),
        };
        builder.build().map_err(|error| BuildError {
            key: "vault",
            cause: root_cause(&error),
        })
    }
}

impl Resolve for HostOf {
    fn resolve(&self, _: Name) -> Resolving {
        let (host, port) = (self.host.clone(), self.port);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
            Ok(Box::new(found.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}
