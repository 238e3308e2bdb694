//! The trusted certificates: from a file, from a directory, or the system's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::ParsedCertificate;
use rustls::{Error, RootCertStore};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use super::settings::{BuildError, TlsSettings, read_file};
use crate::diagnosis::Diagnosis;
use crate::system::watched_file;

const FILE: &str = "vault.ca_file";
const DIR: &str = "vault.ca_dir";

/// The trusted certificates.
#[derive(Debug, Clone)]
pub(super) struct Roots {
    /// Those that may issue the server's certificate.
    pub(super) anchors: Arc<RootCertStore>,
    /// Those of the file and of the directory, each of which may be the server's own.
    configured: Arc<[CertificateDer<'static>]>,
}

#[derive(Debug)]
struct Collected {
    anchors: RootCertStore,
    configured: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Those of the file and of the directory; the system's if neither is configured.
    pub(super) fn load(settings: &TlsSettings) -> Result<Self, BuildError> {
        let mut collected = Collected {
            anchors: RootCertStore::empty(),
            configured: Vec::new(),
        };
        if let Some(file) = &settings.ca_file {
            add_file(&mut collected, file)?;
        }
        if let Some(dir) = &settings.ca_dir {
            add_directory(&mut collected, dir)?;
        }
        if settings.ca_file.is_none() && settings.ca_dir.is_none() {
            add_system(&mut collected.anchors)?;
        }
        Ok(Self {
            anchors: Arc::new(collected.anchors),
            configured: collected.configured.into(),
        })
    }

    /// Whether this very certificate was configured.
    pub(super) fn contains(&self, certificate: &CertificateDer<'_>) -> bool {
        self.configured.iter().any(|one| one == certificate)
    }

    /// Whether a configured certificate has this subject, but may not issue others.
    pub(super) fn contains_no_ca_of(&self, subject: &[u8]) -> bool {
        self.configured.iter().any(|one| {
            let parsed = X509Certificate::from_der(one);
            parsed.is_ok_and(|(_, parsed)| parsed.subject().as_raw() == subject && !may_issue(one))
        })
    }
}

impl Collected {
    fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), Error> {
        if may_issue(&certificate) {
            self.anchors.add(certificate.clone())?;
        } else {
            ParsedCertificate::try_from(&certificate)?;
        }
        self.configured.push(certificate);
        Ok(())
    }
}

/// Whether Go would accept certificates that this one has issued (`CheckSignatureFrom`): webpki does
/// not ask a trust anchor for its basic constraints.
fn may_issue(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        // The store says why it cannot be used.
        return true;
    };
    let constraints = parsed.basic_constraints().ok().flatten();
    match constraints {
        Some(constraints) => constraints.value.ca,
        None => parsed.version() != X509Version::V3,
    }
}

/// The configured files that [`Roots::load`] reads.
pub(super) fn paths(settings: &TlsSettings) -> Vec<PathBuf> {
    let named = settings.ca_file.iter().chain(&settings.ca_dir);
    named.cloned().collect()
}

fn add_file(collected: &mut Collected, path: &Path) -> Result<(), BuildError> {
    let error = |cause: String| BuildError::new(FILE, format!("{} {cause}", path.display()));
    let content = read_file(FILE, path)?;
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(&content.bytes) {
        let certificate = certificate.map_err(|cause| error(format!("is invalid PEM: {cause}")))?;
        collected
            .add(certificate)
            .map_err(|cause| error(format!("holds an unusable certificate: {cause}")))?;
        found = true;
    }
    if found {
        Ok(())
    } else {
        Err(error("holds no PEM certificate".to_owned()))
    }
}

/// Skips files without a certificate: the directory may hold other things too.
fn add_directory(collected: &mut Collected, dir: &Path) -> Result<(), BuildError> {
    let error = |cause: String, remedy: &str| {
        let cause = Diagnosis::new(format!("{} {cause}", dir.display()));
        BuildError::new(DIR, cause.with_remedy(remedy))
    };
    let files = watched_file::files_in(dir).map_err(|cause| {
        let remedy = watched_file::remedy(&cause).unwrap_or("name a directory");
        error(format!("cannot be read: {cause}"), remedy)
    })?;
    let mut found = 0;
    for file in files {
        let content = read_file(DIR, &file)?;
        let certificates = CertificateDer::pem_slice_iter(&content.bytes).flatten();
        found += certificates
            .filter_map(|certificate| collected.add(certificate).ok())
            .count();
    }
    if found == 0 {
        let cause = "holds no file with a PEM certificate".to_owned();
        return Err(error(cause, "put Vault's CA there"));
    }
    Ok(())
}

fn add_system(store: &mut RootCertStore) -> Result<(), BuildError> {
    let system = rustls_native_certs::load_native_certs();
    let (added, _) = store.add_parsable_certificates(system.certs);
    if added == 0 {
        let cause = Diagnosis::new("is missing, and this system has no CA certificates");
        return Err(BuildError::new(FILE, cause.with_remedy("name Vault's CA")));
    }
    Ok(())
}
