//! The settings of TLS, and why they cannot be used.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::diagnosis::{Diagnosis, write_joined};
use crate::system::watched_file::{self, Content};

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
    pub(in crate::vault) fn new(key: &'static str, problem: impl Into<Diagnosis>) -> Self {
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
pub(in crate::vault) struct TlsSettings {
    pub(in crate::vault) ca_file: Option<PathBuf>,
    pub(in crate::vault) ca_dir: Option<PathBuf>,
    pub(in crate::vault) server_name: Option<String>,
    pub(in crate::vault) client_certificate: Option<ClientCertificate>,
}

/// Reads a file that `key` names.
pub(super) fn read_file(key: &'static str, path: &Path) -> Result<Content, BuildError> {
    watched_file::read(path, MAX_FILE_BYTES).map_err(|error| {
        let cause = Diagnosis::new(format!("{} {error}", path.display()));
        let remedy = error.remedy().map(str::to_owned);
        BuildError::new(key, Diagnosis { remedy, ..cause })
    })
}
