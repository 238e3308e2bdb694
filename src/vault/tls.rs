//! TLS as every connection to Vault uses it: whom to trust, what to show, and files that are read
//! again when they change. Knows nothing of HTTP.

mod files;
mod identity;
mod roots;
mod verifier;
mod watched;
mod words;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use thiserror::Error;

pub(super) use identity::Shown;
use verifier::Accepted;
pub(super) use watched::Watch;
pub use words::ServerCertificate;
pub(super) use words::cause;

/// Why no client could be built. Names the configuration key.
#[derive(Debug, Error)]
#[error("{key}: {cause}")]
pub struct BuildError {
    pub(super) key: &'static str,
    pub(super) cause: String,
}

impl BuildError {
    /// The configuration key that names what is wrong.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.key
    }
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The configuration key that names the certificate.
    pub key: &'static str,
    /// The certificate, with its chain.
    pub cert_file: PathBuf,
    /// Its private key, where that is not in the same file.
    pub key_file: Option<PathBuf>,
}

/// Whom to trust and what to show, as it was configured.
#[derive(Debug, Clone)]
pub(super) struct TlsSettings {
    pub(super) ca_file: Option<PathBuf>,
    pub(super) ca_dir: Option<PathBuf>,
    pub(super) server_name: Option<String>,
    pub(super) client_certificate: Option<ClientCertificate>,
}

/// What connections are made with, until a file changes.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    pub(super) config: ClientConfig,
    pub(super) shown: Arc<Shown>,
    pub(super) accepted: Accepted,
}

impl Tls {
    /// A configuration with a session store of its own: a resumed session would carry the
    /// certificate that was shown when it began.
    fn new(
        roots: &roots::Roots,
        shown: Shown,
        server_name: Option<&str>,
    ) -> Result<Self, BuildError> {
        let provider = Arc::new(ring::default_provider());
        let accepted = Accepted::default();
        let expected = expected(server_name)?;
        let verifier = verifier::Verifier::new(roots, expected, accepted.clone(), &provider)?;
        let shown = Arc::new(shown);
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| BuildError {
                key: "vault",
                cause: error.to_string(),
            })?
            .dangerous() // rustls's word for a verifier of one's own; ours asks rustls's
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(shown.clone());
        Ok(Self {
            config,
            shown,
            accepted,
        })
    }
}

fn expected(server_name: Option<&str>) -> Result<Option<ServerName<'static>>, BuildError> {
    let parsed = server_name.map(|name| ServerName::try_from(name.to_owned()));
    parsed.transpose().map_err(|error| BuildError {
        key: "vault.tls_server_name",
        cause: format!("{:?}: {error}", server_name.unwrap_or_default()),
    })
}

/// Process-wide by rustls's design; a second call changes nothing.
pub fn install_provider() {
    let provider: CryptoProvider = ring::default_provider();
    let _ = provider.install_default();
}
