//! Credentials: from the configuration, or from files. A file is read at each use, trimmed and
//! bounded; its errors name the configuration key and the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use crate::diagnosis::Diagnosis;
use crate::system::watched_file::{self, Content, Fingerprint, ReadError};
use crate::telemetry::events;

/// Far above every credential, and small enough to be read at each use.
const MAX_BYTES: u64 = 64 * 1024;
/// How often a file is checked while only a change of it can help.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// One credential, and the configuration key that names it.
#[derive(Debug, Clone)]
pub struct Credential {
    key: &'static str,
    source: Source,
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
        Self { key, source }
    }

    /// A credential in a file.
    #[must_use]
    pub fn file(key: &'static str, path: PathBuf) -> Self {
        let source = Source::File(path);
        Self { key, source }
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
            ReadError::Open(_) => error(cause.to_string()).with_remedy(WRITE_IT),
            ReadError::Read(_) => error(cause.to_string()),
            ReadError::TooLarge(_) => {
                error(format!("{cause}, which is too large for a credential"))
            }
        })?;
        if content.is_world_readable {
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

async fn read_file(path: PathBuf) -> Result<Content, ReadError> {
    let read = spawn_blocking(move || watched_file::read(&path, MAX_BYTES)).await;
    read.unwrap_or_else(|error| Err(ReadError::Read(error.into())))
}

/// Returns once the files of these credentials differ from `before`; never if none is in a file.
pub(super) async fn changed(credentials: &[Credential], before: Fingerprint) {
    while fingerprint(credentials).await == before {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The state of the files of these credentials.
pub(super) async fn fingerprint(credentials: &[Credential]) -> Fingerprint {
    let paths: Vec<_> = credentials
        .iter()
        .filter_map(|credential| credential.path().map(Path::to_owned))
        .collect();
    // It fails only while the process ends.
    spawn_blocking(move || watched_file::fingerprint(&paths))
        .await
        .unwrap_or_default()
}
