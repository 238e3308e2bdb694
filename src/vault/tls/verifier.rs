//! Checks a server's certificate as rustls does, with errors that describe the certificate. One that
//! the operator has configured itself is accepted without an issuer, as Go's clients do.

use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::diagnostics;
use super::handshake::LastHandshake;
use super::roots::Roots;

#[derive(Debug)]
pub(super) struct Verifier {
    roots: Roots,
    /// The name that the certificate must hold; `None` for the host of the address.
    expected: Option<ServerName<'static>>,
    last: LastHandshake,
    supported: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(
        roots: &Roots,
        expected: Option<ServerName<'static>>,
        last: LastHandshake,
        supported: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self {
            roots: roots.clone(),
            expected,
            last,
            supported,
        }
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if self.roots.contains(end_entity) {
            verify_validity_and_purpose(end_entity, now)?;
        } else {
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots.anchors,
                intermediates,
                now,
                self.supported.all,
            )?;
        }
        verify_server_name(&certificate, name)
    }
}

/// What remains to be checked of a server's certificate beside its issuer and its name. Not by
/// rustls, which rejects a self-signed one with `CA:TRUE`, as `openssl req -x509` makes it. As in Go
/// and unlike in rustls, `anyExtendedKeyUsage` includes servers.
fn verify_validity_and_purpose(der: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, parsed) = X509Certificate::from_der(der).map_err(|_| CertificateError::BadEncoding)?;
    // Before 1970 is as good as 1970.
    let second = |time: i64| {
        UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(time).unwrap_or(0)))
    };
    let not_before = second(parsed.validity().not_before.timestamp());
    let not_after = second(parsed.validity().not_after.timestamp());
    if now < not_before {
        return Err(CertificateError::NotValidYetContext {
            time: now,
            not_before,
        }
        .into());
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext {
            time: now,
            not_after,
        }
        .into());
    }
    let usage = parsed.extended_key_usage();
    match usage.map_err(|_| CertificateError::BadEncoding)? {
        Some(usage) if !usage.value.server_auth && !usage.value.any => {
            Err(CertificateError::InvalidPurpose.into())
        }
        _ => Ok(()),
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.expected.as_ref().unwrap_or(server_name);
        self.verify(end_entity, intermediates, name, now)
            .map_err(|error| {
                diagnostics::explain(error, end_entity, intermediates, name, &self.roots)
            })?;
        self.last.accepted(end_entity);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = verify_tls12_signature(message, cert, dss, &self.supported)
            .map_err(|error| diagnostics::explain_signature(error, cert))?;
        self.last.signed_in_tls12(dss.scheme, message);
        Ok(valid)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = verify_tls13_signature(message, cert, dss, &self.supported)
            .map_err(|error| diagnostics::explain_signature(error, cert))?;
        self.last.signed_in_tls13(dss.scheme);
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.supported.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
