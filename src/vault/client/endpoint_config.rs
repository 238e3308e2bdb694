//! The settings of a client, and how the connections to one endpoint are made: proxy, server name,
//! socket, timeouts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Name, Resolve, Resolving};
use reqwest::{ClientBuilder, Url, redirect};

use super::address::{Address, host_and_port};
use super::proxy::{Proxies, Proxy};
use crate::vault::response::root_cause;
use crate::vault::tls::{BuildError, ClientCertificate, Tls, TlsSettings};

/// How long a connection may take to be established. With several addresses the next one must get
/// its turn within kube-apiserver's 3 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The same with a single address: just early enough that the error can name the timeout within
/// those 3 s, and within the 2 s of a health check.
const CONNECT_TIMEOUT_SINGLE: Duration = Duration::from_millis(1800);
/// The buffers of a connection keep the token and the plaintexts that they last carried for as long
/// as it lives: the libraries' buffers cannot be wiped from outside. Idle connections are looked for
/// at this interval, so they are gone after twice the time. It is also shorter than the idle
/// timeouts of load balancers, so that no dead connection is reused.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_millis(750);
/// What `localhost` is; the port is that of the URL.
const LOOPBACK: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
];
/// What was sent and not acknowledged for so long will not be: the peer is gone.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(3);

/// Where Vault is, and how its identity is verified.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Tried in this order; at least one.
    pub addresses: Vec<Address>,
    /// A file with the PEM certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// A directory of such files. Together with `ca_file` both are trusted.
    pub ca_dir: Option<PathBuf>,
    /// The name that the server's certificate must hold; `None` for the host of the address.
    pub tls_server_name: Option<String>,
    /// Presented to a server that asks for a certificate.
    pub client_certificate: Option<ClientCertificate>,
    /// The proxies in front of Vault.
    pub proxies: Proxies,
}

impl Settings {
    /// The same settings for one of the addresses alone.
    #[must_use]
    pub fn only(&self, address: &Address) -> Self {
        Self {
            addresses: vec![address.clone()],
            ..self.clone()
        }
    }
}

pub(super) fn tls_settings(settings: &Settings) -> TlsSettings {
    TlsSettings {
        ca_file: settings.ca_file.clone(),
        ca_dir: settings.ca_dir.clone(),
        server_name: settings.tls_server_name.clone(),
        client_certificate: settings.client_certificate.clone(),
    }
}

/// What all connections to one endpoint have in common, except the certificates.
#[derive(Debug)]
pub(super) struct EndpointConfig {
    /// The URL of requests; with a server name of its own it differs from the address.
    pub(super) base: Url,
    /// The URL by which a redirect can name it; `None` for a socket.
    pub(super) origin: Option<Url>,
    /// The address for an operator, with the proxy in front of it.
    pub(super) label: String,
    pub(super) speaks_tls: bool,
    pub(super) connect_timeout: Duration,
    socket: Option<PathBuf>,
    proxy: Option<Proxy>,
    resolver: Option<PinnedHostResolver>,
}

/// Resolves one host, whatever name it is asked for: the URL holds the certificate's name, and this
/// finds the machine.
#[derive(Debug, Clone)]
struct PinnedHostResolver {
    host: String,
    port: u16,
}

impl EndpointConfig {
    pub(super) fn new(address: &Address, settings: &Settings) -> Result<Self, BuildError> {
        let proxy = settings.proxies.for_address(address);
        let mut config = Self {
            base: address.url().clone(),
            origin: address.socket().is_none().then(|| address.url().clone()),
            label: match &proxy {
                Some(proxy) => format!("{address} (through the proxy {proxy:?})"),
                None => address.to_string(),
            },
            speaks_tls: address.is_tls(),
            connect_timeout: match settings.addresses.len() {
                1 => CONNECT_TIMEOUT_SINGLE,
                _ => CONNECT_TIMEOUT,
            },
            socket: address.socket().map(PathBuf::from),
            proxy,
            resolver: None,
        };
        if let Some(name) = &settings.tls_server_name
            && config.speaks_tls
        {
            config.override_server_name(name)?;
        }
        Ok(config)
    }

    /// Puts the server's name into the URL, so that TLS sends it to the server. A proxy needs the
    /// address itself there; the certificate is verified for the name all the same.
    fn override_server_name(&mut self, name: &str) -> Result<(), BuildError> {
        if self.proxy.is_some() {
            return Ok(());
        }
        let (host, port) = host_and_port(&self.base);
        self.resolver = Some(PinnedHostResolver { host, port });
        self.base.set_host(Some(name)).map_err(|error| {
            let cause = format!("{name:?} is not a host name: {error}");
            BuildError::new("vault.tls_server_name", cause)
        })
    }

    /// A client without any connection yet.
    pub(super) fn client(&self, tls: Option<&Tls>) -> Result<reqwest::Client, BuildError> {
        let mut builder = ClientBuilder::new()
            .redirect(redirect::Policy::none())
            // The environment was read with the configuration.
            .no_proxy()
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .tcp_keepalive(None)
            .tcp_user_timeout(TCP_USER_TIMEOUT);
        if let Some(socket) = &self.socket {
            builder = builder.unix_socket(socket.as_path());
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.to_reqwest()?);
        }
        // Plain HTTP is allowed there: /etc/hosts must not move it to another machine.
        builder = builder.resolve_to_addrs("localhost", &LOOPBACK);
        if let Some(resolver) = &self.resolver {
            builder = builder.dns_resolver(Arc::new(resolver.clone()));
        }
        builder = match tls {
            Some(tls) => builder.tls_backend_preconfigured(tls.config.clone()),
            // Without this reqwest would load the system's CAs.
            None => builder.tls_certs_only([]),
        };
        builder
            .build()
            .map_err(|error| BuildError::new("vault", root_cause(&error)))
    }
}

impl Resolve for PinnedHostResolver {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.host.clone();
        let port = self.port;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
            Ok(Box::new(found.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}
