//! Turns settings into HTTP clients: TLS roots, client certificate, server name, sockets.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Name, Resolve, Resolving};
use reqwest::{Certificate, ClientBuilder, Identity, Url, redirect};
use thiserror::Error;

use super::{Address, Node};
use crate::vault::answer::root_cause;

/// How long a connection may take to come up. With several addresses the next one must still get
/// its turn inside kube-apiserver's 3 s.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// The same with one address, where giving up early gains nothing.
const CONNECT_LIMIT_ALONE: Duration = Duration::from_secs(5);
/// Shorter than the idle limits of usual load balancers, so that a dead connection is not picked.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// Where Vault is and how to trust it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Tried in this order; at least one.
    pub addresses: Vec<Address>,
    /// PEM certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The name that the server's certificate has to hold, where it is not the address's host.
    pub tls_server_name: Option<String>,
    /// What is shown to a server that asks for a certificate.
    pub client_certificate: Option<ClientCertificate>,
}

/// A certificate and its key, both in PEM.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The certificate, with its chain.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// Why no client could be built. Names the configuration key.
#[derive(Debug, Error)]
#[error("{key}: {cause}")]
pub struct BuildError {
    key: &'static str,
    cause: String,
}

/// Looks another name up than the one it is asked for: the certificate's name stands in the URL,
/// and this finds the machine.
struct HostOf {
    host: String,
    port: u16,
}

pub(super) fn nodes(settings: &Settings) -> Result<Vec<Node>, BuildError> {
    // Process-wide by rustls's design; a second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    settings
        .addresses
        .iter()
        .map(|address| node(address, settings))
        .collect()
}

fn node(address: &Address, settings: &Settings) -> Result<Node, BuildError> {
    let connect_limit = match settings.addresses.len() {
        1 => CONNECT_LIMIT_ALONE,
        _ => CONNECT_LIMIT,
    };
    let mut base = address.url().clone();
    let mut builder = ClientBuilder::new()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(connect_limit)
        .pool_idle_timeout(POOL_IDLE)
        .tcp_nodelay(true);
    if let Some(socket) = address.socket() {
        builder = builder.unix_socket(socket);
    }
    builder = if address.is_tls() {
        with_tls(builder, settings, &mut base)?
    } else {
        // Without this the system's roots are loaded, for nothing.
        builder.tls_certs_only([])
    };
    let http = builder.build().map_err(|error| BuildError {
        key: "vault",
        cause: root_cause(&error),
    })?;
    Ok(Node {
        base,
        label: address.to_string(),
        http,
    })
}

fn with_tls(
    mut builder: ClientBuilder,
    settings: &Settings,
    base: &mut Url,
) -> Result<ClientBuilder, BuildError> {
    if let Some(path) = &settings.ca_file {
        builder = builder.tls_certs_only(certificates(path)?);
    }
    if let Some(certificate) = &settings.client_certificate {
        builder = builder.identity(identity(certificate)?);
    }
    let Some(name) = &settings.tls_server_name else {
        return Ok(builder);
    };
    let host = base.host_str().unwrap_or_default();
    let real = HostOf {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: base.port_or_known_default().unwrap_or(443),
    };
    base.set_host(Some(name)).map_err(|error| BuildError {
        key: "vault.tls_server_name",
        cause: format!("{name:?} is no host name: {error}"),
    })?;
    Ok(builder.dns_resolver(Arc::new(real)))
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, BuildError> {
    let key = "vault.ca_file";
    let pem = read(key, path)?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| BuildError {
        key,
        cause: format!("{}: {}", path.display(), root_cause(&error)),
    })?;
    if certificates.is_empty() {
        return Err(BuildError {
            key,
            cause: format!("{} holds no PEM certificate", path.display()),
        });
    }
    Ok(certificates)
}

fn identity(certificate: &ClientCertificate) -> Result<Identity, BuildError> {
    let mut pem = read("vault.client_cert_file", &certificate.cert_file)?;
    pem.push(b'\n');
    pem.extend(read("vault.client_key_file", &certificate.key_file)?);
    Identity::from_pem(&pem).map_err(|error| BuildError {
        key: "vault.client_cert_file",
        cause: format!(
            "{} with {}: {}",
            certificate.cert_file.display(),
            certificate.key_file.display(),
            root_cause(&error)
        ),
    })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|error| BuildError {
        key,
        cause: format!("cannot read {}: {error}", path.display()),
    })
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
