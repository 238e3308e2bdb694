//! The CA certificates that are trusted: from a file, from a directory, or the system's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{BuildError, TlsSettings, files};

const FILE: &str = "vault.ca_file";
const DIR: &str = "vault.ca_dir";

/// The trusted certificates.
#[derive(Debug, Clone)]
pub(super) struct Roots(pub(super) Arc<RootCertStore>);

impl Roots {
    /// Those of the file and those of the directory; the system's, where neither is named.
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

/// What [`Roots::load`] reads; nothing of the system's.
pub(super) fn paths(settings: &TlsSettings) -> Vec<PathBuf> {
    let named = settings.ca_file.iter().chain(&settings.ca_dir);
    named.cloned().collect()
}

fn add_file(store: &mut RootCertStore, path: &Path) -> Result<(), BuildError> {
    let refuse = |cause: String| BuildError {
        key: FILE,
        cause: format!("{} {cause}", path.display()),
    };
    let pem = files::read(FILE, path)?;
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| refuse(format!("is no PEM: {error}")))?;
        store
            .add(certificate)
            .map_err(|error| refuse(format!("holds an unusable certificate: {error}")))?;
        found = true;
    }
    match found {
        true => Ok(()),
        false => Err(refuse("holds no PEM certificate".to_owned())),
    }
}

/// A directory may hold other things too: what is no certificate is passed over.
fn add_directory(store: &mut RootCertStore, dir: &Path) -> Result<(), BuildError> {
    let refuse = |cause: String| BuildError {
        key: DIR,
        cause: format!("{} {cause}", dir.display()),
    };
    let files = files::entries(dir)
        .map_err(|error| refuse(format!("cannot be read: {error}; name a directory")))?;
    let mut found = 0;
    for file in files {
        let pem = files::read(DIR, &file)?;
        let certificates = CertificateDer::pem_slice_iter(&pem).flatten();
        let (added, _) = store.add_parsable_certificates(certificates);
        found += added;
    }
    match found {
        0 => Err(refuse(
            "holds no file with a PEM certificate: put vault's CA there".to_owned(),
        )),
        _ => Ok(()),
    }
}

fn add_system(store: &mut RootCertStore) -> Result<(), BuildError> {
    let system = rustls_native_certs::load_native_certs();
    let (added, _) = store.add_parsable_certificates(system.certs);
    match added {
        0 => Err(BuildError {
            key: FILE,
            cause: "is missing, and this system has no CA certificates: name vault's CA".to_owned(),
        }),
        _ => Ok(()),
    }
}
