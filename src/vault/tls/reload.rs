//! Certificate files that are read again when they change. A new file that cannot be used changes
//! nothing: the last good one stays in use, and the log reports it once.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::connector::Tls;
use super::identity::{self, ClientCertResolver, Identity};
use super::roots::{self, Roots};
use super::settings::{BuildError, TlsSettings};
use crate::system::watched_file::{Fingerprint, fingerprint};
use crate::telemetry::events;

/// How often a request checks the files: the cost is negligible beside the requests of a second.
/// Logins always check.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// All certificate files, and their last good content.
#[derive(Debug)]
pub(in crate::vault) struct CertificateReloader {
    settings: TlsSettings,
    roots: Reloadable<Roots>,
    identity: Reloadable<Option<Identity>>,
    checked: Instant,
}

#[derive(Debug)]
struct Reloadable<T> {
    paths: Vec<PathBuf>,
    fingerprint: Fingerprint,
    value: T,
}

impl CertificateReloader {
    /// Reads all files.
    ///
    /// # Errors
    /// If one cannot be read or used.
    pub(in crate::vault) fn new(settings: TlsSettings) -> Result<(Self, Tls), BuildError> {
        let roots = Reloadable::new(roots::paths(&settings), || Roots::load(&settings))?;
        let paths = identity::paths(settings.client_certificate.as_ref());
        let identity = Reloadable::new(paths, || load_identity(&settings))?;
        let reloader = Self {
            settings,
            roots,
            identity,
            checked: Instant::now(),
        };
        let tls = reloader.tls()?;
        Ok((reloader, tls))
    }

    /// Whether a request should check the files now.
    pub(in crate::vault) fn is_due(&self) -> bool {
        self.checked.elapsed() >= RELOAD_INTERVAL
    }

    /// Checks the files. Returns the TLS side of new connections if it has changed.
    pub(in crate::vault) fn reload_if_changed(&mut self) -> Option<Tls> {
        self.checked = Instant::now();
        let settings = &self.settings;
        let roots = self.roots.reload_if_changed(|| Roots::load(settings));
        let identity = self.identity.reload_if_changed(|| load_identity(settings));
        if !roots && !identity {
            return None;
        }
        match self.tls() {
            Ok(tls) => {
                events::CertificatesChanged {
                    ca: roots,
                    client_certificate: identity,
                }
                .emit();
                Some(tls)
            }
            Err(error) => {
                events::CertificatesUnusable {
                    error: error.to_string(),
                }
                .emit();
                None
            }
        }
    }

    fn tls(&self) -> Result<Tls, BuildError> {
        let client_cert = ClientCertResolver::new(self.identity.value.clone());
        let server_name = self.settings.server_name.as_deref();
        Tls::new(&self.roots.value, client_cert, server_name)
    }
}

fn load_identity(settings: &TlsSettings) -> Result<Option<Identity>, BuildError> {
    let certificate = settings.client_certificate.as_ref();
    certificate.map(Identity::load).transpose()
}

impl<T> Reloadable<T> {
    fn new(
        paths: Vec<PathBuf>,
        load: impl Fn() -> Result<T, BuildError>,
    ) -> Result<Self, BuildError> {
        // Before the files are read: a change meanwhile is noticed at the next check.
        let fingerprint = fingerprint(&paths);
        let value = load()?;
        Ok(Self {
            paths,
            fingerprint,
            value,
        })
    }

    /// Whether the value has changed.
    fn reload_if_changed(&mut self, load: impl Fn() -> Result<T, BuildError>) -> bool {
        let now = fingerprint(&self.paths);
        if now == self.fingerprint {
            return false;
        }
        self.fingerprint = now;
        match load() {
            Ok(value) => self.value = value,
            Err(error) => {
                events::CertificateUnusable {
                    error: error.to_string(),
                }
                .emit();
                return false;
            }
        }
        true
    }
}
