//! The TLS side of new connections.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};

use super::handshake::{LastHandshake, SessionStore};
use super::identity::ClientCertResolver;
use super::roots::Roots;
use super::settings::BuildError;
use super::verifier::Verifier;

/// The TLS side of new connections, until a file changes.
#[derive(Debug, Clone)]
pub(in crate::vault) struct Tls {
    pub(in crate::vault) config: ClientConfig,
    pub(in crate::vault) client_cert: Arc<ClientCertResolver>,
    pub(in crate::vault) last: LastHandshake,
}

impl Tls {
    /// A configuration with a session store of its own: a resumed session would carry the
    /// certificate that was presented when it began.
    pub(super) fn new(
        roots: &Roots,
        client_cert: ClientCertResolver,
        server_name: Option<&str>,
    ) -> Result<Self, BuildError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let last = LastHandshake::default();
        let expected = expected(server_name)?;
        let supported = provider.signature_verification_algorithms;
        let verifier = Verifier::new(roots, expected, last.clone(), supported);
        let client_cert = Arc::new(client_cert);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| BuildError::new("vault", error.to_string()))?
            .dangerous() // so rustls names any custom verifier; ours delegates to rustls's own
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(client_cert.clone());
        config.resumption = Resumption::store(Arc::new(SessionStore::new(last.clone())));
        if cfg!(feature = "fips") && !config.fips() {
            let cause = "the FIPS module of this build is not in use";
            return Err(BuildError::new("vault", cause));
        }
        Ok(Self {
            config,
            client_cert,
            last,
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
