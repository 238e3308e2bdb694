//! Checks a server's certificate as rustls does, with errors that describe the certificate.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::diagnostics::{self, ServerCertificate};
use super::roots::Roots;
use super::settings::BuildError;

/// The last server certificate that was accepted. A clone shares it.
#[derive(Debug, Clone, Default)]
pub(in crate::vault) struct LastPeerCertificate(Arc<Mutex<Option<CertificateDer<'static>>>>);

#[derive(Debug)]
pub(super) struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    /// The name that the certificate must hold; `None` for the host of the address.
    expected: Option<ServerName<'static>>,
    peer: LastPeerCertificate,
}

impl LastPeerCertificate {
    /// Describes it; `None` if there is none yet, or it cannot be parsed.
    pub(in crate::vault) fn describe(&self) -> Option<ServerCertificate> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().and_then(diagnostics::describe)
    }

    fn set(&self, certificate: &CertificateDer<'_>) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(certificate.clone().into_owned());
    }
}

impl Verifier {
    pub(super) fn new(
        roots: &Roots,
        expected: Option<ServerName<'static>>,
        peer: LastPeerCertificate,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, BuildError> {
        let built = WebPkiServerVerifier::builder_with_provider(roots.0.clone(), provider.clone());
        let inner = built
            .build()
            .map_err(|error| BuildError::new("vault.ca_file", error.to_string()))?;
        Ok(Self {
            inner,
            expected,
            peer,
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.expected.as_ref().unwrap_or(server_name);
        let verified = self
            .inner
            .verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
            .map_err(|error| diagnostics::explain(error, end_entity, intermediates, name))?;
        self.peer.set(end_entity);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
