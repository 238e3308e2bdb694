//! The client certificate: read from one file or two, shown to a server that asks.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{BuildError, ClientCertificate, files, words};

/// What a server is shown that asks for a certificate, and whether one asked.
#[derive(Debug)]
pub(in crate::vault) struct Shown {
    identity: Option<Identity>,
    asked: AtomicBool,
}

/// A certificate with its key, and words for it.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    certified: Arc<CertifiedKey>,
    /// `auth.cert_file: PATH: certificate of …`
    words: String,
}

impl Identity {
    pub(super) fn load(settings: &ClientCertificate) -> Result<Self, BuildError> {
        let place = settings.cert_file.display();
        let refuse = |cause: String| BuildError {
            key: settings.key,
            cause: format!("{place} {cause}"),
        };
        let pem = files::read(settings.key, &settings.cert_file)?;
        let chain = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| refuse(format!("is no PEM: {error}")))?;
        let Some(first) = chain.first() else {
            return Err(refuse("holds no PEM certificate".to_owned()));
        };
        let words = format!("{}: {place}: {}", settings.key, words::certificate(first));
        let (key_file, key) = match &settings.key_file {
            Some(file) => (file, files::read(key_of(settings), file)?),
            None => (&settings.cert_file, pem),
        };
        files::warn_if_open_to_all(key_of(settings), key_file);
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| no_key(settings))?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| refuse(format!("and its key cannot be used together: {error}")))?;
        Ok(Self {
            certified: Arc::new(certified),
            words,
        })
    }
}

/// The parser's own words could quote what stands in the file.
fn no_key(settings: &ClientCertificate) -> BuildError {
    let (file, also) = match &settings.key_file {
        Some(file) => (file, ""),
        None => (
            &settings.cert_file,
            ": name the file that does, or put both into one",
        ),
    };
    BuildError {
        key: key_of(settings),
        cause: format!("{} holds no unencrypted private key{also}", file.display()),
    }
}

fn key_of(settings: &ClientCertificate) -> &'static str {
    match settings.key {
        "auth.cert_file" => "auth.key_file",
        _ => "vault.client_key_file",
    }
}

/// What [`Identity::load`] reads.
pub(super) fn paths(settings: Option<&ClientCertificate>) -> Vec<PathBuf> {
    let files = settings.map(|files| [Some(&files.cert_file), files.key_file.as_ref()]);
    files.into_iter().flatten().flatten().cloned().collect()
}

impl Shown {
    pub(super) fn new(identity: Option<Identity>) -> Self {
        Self {
            identity,
            asked: AtomicBool::new(false),
        }
    }

    /// Until when the certificate is valid, in UTC seconds.
    pub(in crate::vault) fn not_after(&self) -> Option<i64> {
        let first = self.identity.as_ref()?.certified.cert.first()?;
        words::facts(first).map(|certificate| certificate.not_after)
    }

    /// What there is to say of the client's side when a server ends a connection.
    pub(in crate::vault) fn words(&self) -> Option<String> {
        match &self.identity {
            _ if !self.asked.load(Ordering::Relaxed) => None,
            Some(identity) => Some(format!("it was shown {}", identity.words)),
            None => Some("it asks for a certificate: set vault.client_cert_file to one".to_owned()),
        }
    }
}

impl ResolvesClientCert for Shown {
    /// Shown whatever CAs the server hints at, as Vault's own client does (`api/client.go`).
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        let identity = self.identity.as_ref();
        identity.map(|identity| identity.certified.clone())
    }

    fn has_certs(&self) -> bool {
        // Also without one: so that it is known that a server asked.
        true
    }
}
