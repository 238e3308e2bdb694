//! The client certificate: read from one file or two, presented to a server that asks for one.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::diagnostics;
use super::settings::{BuildError, ClientCertificate, read_file};
use crate::diagnosis::Diagnosis;
use crate::telemetry::events;

/// Presents the certificate to a server that asks for one, and records whether one asked.
#[derive(Debug)]
pub(in crate::vault) struct ClientCertResolver {
    identity: Option<Identity>,
    was_asked: AtomicBool,
}

/// A certificate with its key.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    certified: Arc<CertifiedKey>,
    /// `auth.cert_file: PATH: certificate of …`
    description: String,
}

impl Identity {
    pub(super) fn load(settings: &ClientCertificate) -> Result<Self, BuildError> {
        let file = settings.cert_file.display();
        let error = |cause: String| BuildError::new(settings.key, format!("{file} {cause}"));
        let content = read_file(settings.key, &settings.cert_file)?;
        let chain = CertificateDer::pem_slice_iter(&content.bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|cause| error(format!("is invalid PEM: {cause}")))?;
        let Some(first) = chain.first() else {
            return Err(error("holds no PEM certificate".to_owned()));
        };
        let certificate = diagnostics::describe_certificate(first);
        let description = format!("{}: {file}: {certificate}", settings.key);
        let (key_file, key) = match &settings.key_file {
            Some(file) => (file, read_file(key_of(settings), file)?),
            None => (&settings.cert_file, content),
        };
        if key.is_world_readable {
            events::PrivateKeyReadable {
                key: key_of(settings),
                file: key_file.display().to_string(),
            }
            .emit();
        }
        let key = PrivateKeyDer::from_pem_slice(&key.bytes).map_err(|_| no_key(settings))?;
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|cause| error(format!("and its key cannot be used together: {cause}")))?;
        Ok(Self {
            certified: Arc::new(certified),
            description,
        })
    }
}

/// Without the parser's own message, which could quote the file.
fn no_key(settings: &ClientCertificate) -> BuildError {
    let file = settings.key_file.as_ref().unwrap_or(&settings.cert_file);
    let cause = format!("{} holds no unencrypted private key", file.display());
    let mut problem = Diagnosis::new(cause);
    if settings.key_file.is_none() {
        problem = problem.with_remedy("name the file that does, or put both into one");
    }
    BuildError::new(key_of(settings), problem)
}

fn key_of(settings: &ClientCertificate) -> &'static str {
    match settings.key {
        "auth.cert_file" => "auth.key_file",
        _ => "vault.client_key_file",
    }
}

/// The files that [`Identity::load`] reads.
pub(super) fn paths(settings: Option<&ClientCertificate>) -> Vec<PathBuf> {
    let files = settings.map(|files| [Some(&files.cert_file), files.key_file.as_ref()]);
    files.into_iter().flatten().flatten().cloned().collect()
}

impl ClientCertResolver {
    pub(super) fn new(identity: Option<Identity>) -> Self {
        Self {
            identity,
            was_asked: AtomicBool::new(false),
        }
    }

    /// From when and until when the certificate is valid, in UTC seconds.
    pub(in crate::vault) fn lifetime(&self) -> Option<Range<i64>> {
        let first = self.identity.as_ref()?.certified.cert.first()?;
        diagnostics::describe(first).map(|it| it.not_before..it.not_after)
    }

    /// The part of the client certificate in a connection that the server ended; `None` if the
    /// server asked for no certificate.
    pub(in crate::vault) fn remark(&self) -> Option<Diagnosis> {
        if !self.was_asked.load(Ordering::Relaxed) {
            return None;
        }
        Some(match &self.identity {
            Some(identity) => Diagnosis::new(format!("it was shown {}", identity.description)),
            None => Diagnosis::new("it asks for a certificate")
                .with_remedy("set vault.client_cert_file to one"),
        })
    }
}

impl ResolvesClientCert for ClientCertResolver {
    /// Presented whichever CAs the server names, as Vault's own client does (`api/client.go`).
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was_asked.store(true, Ordering::Relaxed);
        let identity = self.identity.as_ref();
        identity.map(|identity| identity.certified.clone())
    }

    fn has_certs(&self) -> bool {
        // Also without a certificate: only then rustls reports that a server asked.
        true
    }
}
