//! Certificate files that are read again when they change. A new file that cannot be used changes
//! nothing: the last good one goes on, and the log says so once.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::files::{Fingerprint, fingerprint};
use super::identity::{self, Identity, Shown};
use super::roots::{self, Roots};
use super::{BuildError, Tls, TlsSettings};

use crate::telemetry::events;

/// How often a request looks at the files: often enough that nobody waits for it, and nothing
/// beside what the requests of a second cost. Logins look always.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// All files, and what they held when they were good.
#[derive(Debug)]
pub(in crate::vault) struct Watch {
    settings: TlsSettings,
    roots: Watched<Roots>,
    identity: Watched<Option<Identity>>,
    looked: Instant,
}

#[derive(Debug)]
struct Watched<T> {
    paths: Vec<PathBuf>,
    seen: Fingerprint,
    value: T,
}

impl Watch {
    /// Reads all files.
    ///
    /// # Errors
    /// When one cannot be read or used.
    pub(in crate::vault) fn new(settings: TlsSettings) -> Result<(Self, Tls), BuildError> {
        let roots = Watched::new(roots::paths(&settings), || Roots::load(&settings))?;
        let paths = identity::paths(settings.client_certificate.as_ref());
        let identity = Watched::new(paths, || load_identity(&settings))?;
        let watch = Self {
            settings,
            roots,
            identity,
            looked: Instant::now(),
        };
        let tls = watch.tls()?;
        Ok((watch, tls))
    }

    /// Whether it is time for a request to look.
    pub(in crate::vault) fn is_due(&self) -> bool {
        self.looked.elapsed() >= LOOK_EVERY
    }

    /// What connections are to be made with from now on, if that is something new.
    pub(in crate::vault) fn look(&mut self) -> Option<Tls> {
        self.looked = Instant::now();
        let settings = &self.settings;
        let roots = self.roots.look(|| Roots::load(settings));
        let identity = self.identity.look(|| load_identity(settings));
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
        let shown = Shown::new(self.identity.value.clone());
        Tls::new(
            &self.roots.value,
            shown,
            self.settings.server_name.as_deref(),
        )
    }
}

fn load_identity(settings: &TlsSettings) -> Result<Option<Identity>, BuildError> {
    let named = settings.client_certificate.as_ref();
    named.map(Identity::load).transpose()
}

impl<T> Watched<T> {
    fn new(
        paths: Vec<PathBuf>,
        load: impl Fn() -> Result<T, BuildError>,
    ) -> Result<Self, BuildError> {
        // Before the files are read: what changes meanwhile is seen at the next look.
        let seen = fingerprint(&paths);
        let value = load()?;
        Ok(Self { paths, seen, value })
    }

    /// Whether there is a new value.
    fn look(&mut self, load: impl Fn() -> Result<T, BuildError>) -> bool {
        let now = fingerprint(&self.paths);
        if now == self.seen {
            return false;
        }
        self.seen = now;
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
