//! TLS of every connection to Vault: the trusted CAs, the client certificate, and files that are
//! read again when they change. Knows nothing of HTTP.

mod diagnostics;
mod identity;
mod reload;
mod roots;
mod verifier;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};

use crate::diagnosis::{Diagnosis, write_joined};
use crate::system::watched_file::{self, Content};
pub use diagnostics::ServerCertificate;
pub(super) use diagnostics::diagnose;
pub(super) use identity::ClientCertResolver;
pub(super) use reload::CertificateReloader;
use verifier::LastPeerCertificate;

/// Far above every certificate chain and every system's bundle of CAs.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why no client could be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError {
    /// The configuration key that is wrong.
    pub key: &'static str,
    /// What is wrong with it.
    pub cause: String,
    /// What an operator can do about it.
    pub remedy: Option<String>,
}

impl BuildError {
    pub(super) fn new(key: &'static str, problem: impl Into<Diagnosis>) -> Self {
        let Diagnosis { cause, remedy } = problem.into();
        Self { key, cause, remedy }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = format_args!("{}: {}", self.key, self.cause);
        write_joined(f, cause, self.remedy.as_deref())
    }
}

impl std::error::Error for BuildError {}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The configuration key that names the certificate.
    pub key: &'static str,
    /// The certificate, with its chain.
    pub cert_file: PathBuf,
    /// Its private key; `None` if it is in the same file.
    pub key_file: Option<PathBuf>,
}

/// The trusted CAs and the client certificate, as configured.
#[derive(Debug, Clone)]
pub(super) struct TlsSettings {
    pub(super) ca_file: Option<PathBuf>,
    pub(super) ca_dir: Option<PathBuf>,
    pub(super) server_name: Option<String>,
    pub(super) client_certificate: Option<ClientCertificate>,
}

/// The TLS side of new connections, until a file changes.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    pub(super) config: ClientConfig,
    pub(super) client_cert: Arc<ClientCertResolver>,
    pub(super) peer: LastPeerCertificate,
}

impl Tls {
    /// A configuration with a session store of its own: a resumed session would carry the
    /// certificate that was presented when it began.
    fn new(
        roots: &roots::Roots,
        client_cert: ClientCertResolver,
        server_name: Option<&str>,
    ) -> Result<Self, BuildError> {
        let provider = Arc::new(ring::default_provider());
        let peer = LastPeerCertificate::default();
        let expected = expected(server_name)?;
        let verifier = verifier::Verifier::new(roots, expected, peer.clone(), &provider)?;
        let client_cert = Arc::new(client_cert);
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| BuildError::new("vault", error.to_string()))?
            .dangerous() // so rustls names any custom verifier; ours delegates to rustls's own
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(client_cert.clone());
        Ok(Self {
            config,
            client_cert,
            peer,
        })
    }
}

fn expected(server_name: Option<&str>) -> Result<Option<ServerName<'static>>, BuildError> {
    let parsed = server_name.map(|name| ServerName::try_from(name.to_owned()));
    parsed.transpose().map_err(|error| {
        let name = server_name.unwrap_or_default();
        BuildError::new("vault.tls_server_name", format!("{name:?}: {error}"))
    })
}

/// Reads a file that `key` names.
fn read_file(key: &'static str, path: &Path) -> Result<Content, BuildError> {
    watched_file::read(path, MAX_FILE_BYTES)
        .map_err(|error| BuildError::new(key, format!("{} {error}", path.display())))
}

/// Installs rustls's process-wide provider; a second call changes nothing.
pub fn install_provider() {
    let provider: CryptoProvider = ring::default_provider();
    let _ = provider.install_default();
}
