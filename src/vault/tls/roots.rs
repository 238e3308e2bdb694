//! The trusted CA certificates: from a file, from a directory, or the system's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::settings::{BuildError, TlsSettings, read_file};
use crate::diagnosis::Diagnosis;
use crate::system::watched_file;

const FILE: &str = "vault.ca_file";
const DIR: &str = "vault.ca_dir";

/// The trusted certificates.
#[derive(Debug, Clone)]
pub(super) struct Roots(pub(super) Arc<RootCertStore>);

impl Roots {
    /// Those of the file and of the directory; the system's if neither is configured.
    pub(super) fn load(settings: &TlsSettings) -> Result<Self, BuildError> {
        let mut store = RootCertStore::empty();
        if let Some(file) = &settings.ca_file {
            add_file(&mut store, file)?;
        }
        if let Some(dir) = &settings.ca_dir {
            add_directory(&mut store, dir)?;
        }
        if settings.ca_file.is_none() && settings.ca_dir.is_none() {
            add_system(&mut store)?;
        }
        Ok(Self(Arc::new(store)))
    }
}

/// The configured files that [`Roots::load`] reads.
pub(super) fn paths(settings: &TlsSettings) -> Vec<PathBuf> {
    let named = settings.ca_file.iter().chain(&settings.ca_dir);
    named.cloned().collect()
}

fn add_file(store: &mut RootCertStore, path: &Path) -> Result<(), BuildError> {
    let error = |cause: String| BuildError::new(FILE, format!("{} {cause}", path.display()));
    let content = read_file(FILE, path)?;
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(&content.bytes) {
        let certificate = certificate.map_err(|cause| error(format!("is invalid PEM: {cause}")))?;
        store
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
fn add_directory(store: &mut RootCertStore, dir: &Path) -> Result<(), BuildError> {
    let error = |cause: String, remedy: &str| {
        let cause = Diagnosis::new(format!("{} {cause}", dir.display()));
        BuildError::new(DIR, cause.with_remedy(remedy))
    };
    let files = watched_file::files_in(dir)
        .map_err(|cause| error(format!("cannot be read: {cause}"), "name a directory"))?;
    let mut found = 0;
    for file in files {
        let content = read_file(DIR, &file)?;
        let certificates = CertificateDer::pem_slice_iter(&content.bytes).flatten();
        let (added, _) = store.add_parsable_certificates(certificates);
        found += added;
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
