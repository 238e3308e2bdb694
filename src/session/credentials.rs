//! Credentials: from the configuration, or from files that are read at each use, trimmed, bounded,
//! and named when something is wrong.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::fs::{self, File};
use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

use crate::telemetry::events;

/// Far above every credential, below anything that would hurt.
const MAX_BYTES: u64 = 64 * 1024;
/// How often a file is looked at while nothing but a change of it can help.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// One credential, and the configuration key that it stands under.
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

/// What changes when one of several files is written or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<Option<(u64, u64, i64, i64)>>);

impl Credential {
    /// A credential that stands in the configuration itself.
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

    /// The file that it is in, if it is in one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::Value(_) => None,
            Source::File(path) => Some(path),
        }
    }

    /// What is wrong with it now.
    pub async fn problem(&self) -> Option<String> {
        self.read().await.err()
    }

    /// The credential as it is now.
    ///
    /// # Errors
    /// With the key, the file, what is wrong and what to do.
    pub(super) async fn read(&self) -> Result<Zeroizing<String>, String> {
        match &self.source {
            Source::Value(secret) => Ok(Zeroizing::new(secret.expose_secret().to_owned())),
            Source::File(path) => read(self.key, path).await,
        }
    }
}

async fn read(key: &'static str, path: &Path) -> Result<Zeroizing<String>, String> {
    let refuse = |cause: &str| format!("{key}: {} {cause}", path.display());
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path)
        .await
        .map_err(|error| refuse(&format!("cannot be opened: {error}; put the secret there")))?;
    warn_if_open_to_all(key, path, &file).await;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .await
        .map_err(|error| refuse(&format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refuse("is longer than 64 KiB: that is no secret"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| refuse("is not text"))?;
    match text.trim() {
        "" => Err(refuse("is empty; put the secret there")),
        secret => Ok(Zeroizing::new(secret.to_owned())),
    }
}

async fn warn_if_open_to_all(key: &'static str, path: &Path, file: &File) {
    const READ_BY_OTHERS: u32 = 0o004;
    let mode = file.metadata().await.map(|data| data.permissions().mode());
    if mode.is_ok_and(|mode| mode & READ_BY_OTHERS != 0) {
        let file = path.display().to_string();
        events::CredentialReadable { key, file }.emit();
    }
}

/// Returns once the files among these are others than `before`; never, where none is a file.
pub(super) async fn changed(credentials: &[Credential], before: Fingerprint) {
    while fingerprint(credentials).await == before {
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

/// What the files among these are now.
pub(super) async fn fingerprint(credentials: &[Credential]) -> Fingerprint {
    let mut all = Vec::new();
    for credential in credentials {
        if let Source::File(path) = &credential.source {
            let data = fs::metadata(path).await.ok();
            all.push(data.map(|d| (d.ino(), d.len(), d.mtime(), d.mtime_nsec())));
        }
    }
    Fingerprint(all)
}
