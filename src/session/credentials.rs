//! Credentials: from the configuration, or from files. A file is read at each use, trimmed and
//! bounded; its errors name the configuration key and the file.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::diagnosis::Diagnosis;
use crate::sha256::sha256;
use crate::system::blocking::spawn_blocking;
use crate::system::watched_file::{self, Content, Fingerprint, ReadError};
use crate::telemetry::events;

/// Far above every credential, and small enough to be read at each use.
const MAX_BYTES: u64 = 64 * 1024;
/// How long the file system may take: a share whose server is gone does not answer at all.
const FILE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a file is checked while only a change of it can help.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// One credential, and the configuration key that names it.
#[derive(Debug, Clone)]
pub struct Credential {
    key: &'static str,
    source: Source,
    /// Whether it was logged that every user can read the file: a login every few seconds says it once.
    is_reported: Arc<AtomicBool>,
}

/// The files of credentials and a hash of what each holds, so that a change of the content shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CredentialState {
    files: Fingerprint,
    digest: Vec<Option<[u8; 32]>>,
}

impl CredentialState {
    /// Whether every file could be read.
    fn is_known(&self, credentials: &[Credential]) -> bool {
        self.digest.len() == paths(credentials).len() && self.digest.iter().all(Option::is_some)
    }
}

#[derive(Debug, Clone)]
enum Source {
    Value(Arc<SecretString>),
    File(PathBuf),
}

impl Credential {
    /// A credential that the configuration itself holds.
    #[must_use]
    pub fn value(key: &'static str, secret: &str) -> Self {
        let source = Source::Value(Arc::new(SecretString::from(secret)));
        let is_reported = Arc::default();
        Self {
            key,
            source,
            is_reported,
        }
    }

    /// A credential in a file.
    #[must_use]
    pub fn file(key: &'static str, path: PathBuf) -> Self {
        let source = Source::File(path);
        let is_reported = Arc::default();
        Self {
            key,
            source,
            is_reported,
        }
    }

    /// Where it comes from, for an operator.
    pub(super) fn origin(&self) -> String {
        match &self.source {
            Source::Value(_) => self.key.to_owned(),
            Source::File(path) => path.display().to_string(),
        }
    }

    /// The configuration key that names it.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// The file that holds it, if a file does.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::Value(_) => None,
            Source::File(path) => Some(path),
        }
    }

    /// Why it cannot be read now; `None` if it can.
    pub async fn problem(&self) -> Option<Diagnosis> {
        self.read().await.err()
    }

    /// The credential as it is now.
    ///
    /// # Errors
    /// With the key and the file.
    pub(super) async fn read(&self) -> Result<Zeroizing<String>, Diagnosis> {
        match &self.source {
            Source::Value(secret) => Ok(Zeroizing::new(secret.expose_secret().to_owned())),
            Source::File(path) => {
                let content = read_file(path.clone()).await;
                self.parse(path, content)
            }
        }
    }

    fn parse(
        &self,
        path: &Path,
        content: Result<Content, ReadError>,
    ) -> Result<Zeroizing<String>, Diagnosis> {
        const WRITE_IT: &str = "put the secret there";
        let error = |cause: String| {
            let file = path.display();
            Diagnosis::new(format!("{}: {file} {cause}", self.key))
        };
        let content = content.map_err(|cause| match cause {
            ReadError::Open(_) => {
                error(cause.to_string()).with_remedy(cause.remedy().unwrap_or(WRITE_IT))
            }
            ReadError::Read(_) => error(cause.to_string()),
            ReadError::TooLarge(_) => {
                error(format!("{cause}, which is too large for a credential"))
            }
        })?;
        let was_reported = self
            .is_reported
            .swap(content.is_world_readable, Ordering::Relaxed);
        if content.is_world_readable && !was_reported {
            events::CredentialReadable {
                key: self.key,
                file: path.display().to_string(),
            }
            .emit();
        }
        let text = std::str::from_utf8(&content.bytes)
            .map_err(|_| error("is not UTF-8 text".to_owned()))?;
        match text.trim() {
            "" => Err(error("is empty".to_owned()).with_remedy(WRITE_IT)),
            secret => Ok(Zeroizing::new(secret.to_owned())),
        }
    }
}

/// Reads a file on a thread of its own: on a file system that hangs it would never return.
async fn read_file(path: PathBuf) -> Result<Content, ReadError> {
    let read = blocking(move || watched_file::read(&path, MAX_BYTES)).await;
    read.unwrap_or_else(|| {
        let limit = humantime::format_duration(FILE_TIMEOUT);
        let error = io::Error::new(ErrorKind::TimedOut, format!("no answer within {limit}"));
        Err(ReadError::Read(error))
    })
}

/// Does what may block; `None` if it takes too long. It continues then.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let done = timeout(FILE_TIMEOUT, spawn_blocking(work)).await;
    done.ok()?.ok()
}

/// Returns once the files of these credentials differ from `before`; never if none is in a file.
pub(super) async fn changed(credentials: &[Credential], before: Fingerprint) {
    while fingerprint(credentials).await == before {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Returns once the files of these credentials hold something else than `before`. A file that is
/// written again with the same content holds the same credential.
pub(super) async fn content_changed(credentials: &[Credential], mut before: CredentialState) {
    loop {
        changed(credentials, before.files.clone()).await;
        let now = state(credentials).await;
        before.files.clone_from(&now.files);
        if !now.is_known(credentials) {
            // A file that is gone or hangs for a moment: what comes after it may be the same.
            tokio::time::sleep(POLL_INTERVAL).await;
        } else if !before.is_known(credentials) {
            before = now;
        } else if now.digest != before.digest {
            return;
        }
    }
}

/// The state of the files of these credentials.
pub(super) async fn fingerprint(credentials: &[Credential]) -> Fingerprint {
    let paths = paths(credentials);
    // Without an answer nothing is known, which differs from every state.
    let found = blocking(move || watched_file::fingerprint(&paths)).await;
    found.unwrap_or_default()
}

/// The state and the content of these files.
pub(super) async fn state(credentials: &[Credential]) -> CredentialState {
    let paths = paths(credentials);
    let found = blocking(move || {
        let files = watched_file::fingerprint(&paths);
        let digest = paths.iter().map(|path| digest(path)).collect();
        CredentialState { files, digest }
    });
    found.await.unwrap_or_default()
}

fn paths(credentials: &[Credential]) -> Vec<PathBuf> {
    let paths = credentials.iter().filter_map(Credential::path);
    paths.map(Path::to_owned).collect()
}

/// `None` if the file cannot be read.
fn digest(path: &Path) -> Option<[u8; 32]> {
    let content = watched_file::read(path, MAX_BYTES).ok()?;
    Some(sha256(content.bytes.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_file_that_is_written_again_with_the_same_content_is_the_same_credential() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret-id");
        fs::write(&path, "wrong").expect("written");
        let credentials = [Credential::file("auth.secret_id_file", path.clone())];
        let before = state(&credentials).await;
        for content in ["wrong", "wrong\n"] {
            let fresh = dir.path().join("fresh");
            fs::write(&fresh, content).expect("written");
            fs::rename(&fresh, &path).expect("renamed");
            let now = state(&credentials).await;
            assert_ne!(now.files, before.files);
            assert_eq!(now.digest, before.digest);
        }
        let watch = content_changed(&credentials, before.clone());
        let waited = timeout(POLL_INTERVAL * 2, watch).await;
        assert!(waited.is_err(), "the same content counts as another one");
        fs::write(&path, "right").expect("written");
        timeout(POLL_INTERVAL * 3, content_changed(&credentials, before))
            .await
            .expect("another content is noticed");
    }

    #[test]
    fn a_file_that_may_not_be_read_is_not_to_be_written_again() {
        let path = Path::new("/etc/vault-kms-plugin/token");
        let credential = Credential::file("auth.token_file", path.to_owned());
        let refused = |kind: ErrorKind| {
            let content = Err(ReadError::Open(kind.into()));
            let problem = credential.parse(path, content).expect_err("unreadable");
            problem.remedy.expect("a remedy")
        };
        assert_eq!(refused(ErrorKind::NotFound), "put the secret there");
        let remedy = refused(ErrorKind::PermissionDenied);
        assert!(
            remedy.starts_with("let the plugin's user read it"),
            "{remedy}"
        );
    }

    #[tokio::test]
    async fn a_file_that_is_gone_for_a_moment_is_no_other_credential() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret-id");
        std::fs::write(&path, "wrong").expect("written");
        let credentials = [Credential::file("auth.secret_id_file", path.clone())];
        let before = state(&credentials).await;
        std::fs::remove_file(&path).expect("removed");
        let watched = tokio::spawn(async move { content_changed(&credentials, before).await });
        tokio::time::sleep(POLL_INTERVAL * 2).await;
        std::fs::write(&path, "wrong").expect("written");
        tokio::time::sleep(POLL_INTERVAL * 2).await;
        assert!(
            !watched.is_finished(),
            "suspension would end for the same content"
        );
    }
}
