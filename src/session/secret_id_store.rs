//! The secret_ids that were unwrapped: stored in a file of mode 0600 beside the state file, because
//! a wrapping token can be unwrapped only once.
//!
//! Decides nothing: `login/wrapped.rs` decides what is unwrapped, and when.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::system::atomic_file::AtomicFile;
use crate::system::blocking::spawn_blocking;

/// The disk space that is reserved before a token is spent: more than two secret_ids with their
/// tokens need.
const RESERVED_BYTES: usize = 8 * 1024;

/// How long the file system may take.
const FILE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a lock that another one holds is tried again.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// What the file holds.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StoredSecretIds {
    /// The secret_id to log in with.
    pub(super) current: SecretIdRecord,
    /// The one before, until the current one has logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<SecretIdRecord>,
}

/// A secret_id, and where it came from.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct SecretIdRecord {
    pub(super) secret_id: String,
    /// The spent wrapping token: shows whether the file of the wrapping token holds another one.
    pub(super) wrapping_token: String,
    /// The path whose response the token wrapped, which names the mount and the role.
    #[zeroize(skip)]
    pub(super) creation_path: String,
}

/// The stored secret_ids; `None` if there is no file.
pub(super) async fn load(path: PathBuf) -> io::Result<Option<StoredSecretIds>> {
    limited(move || {
        let bytes = match fs::read(&path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        read(&bytes).map(Some)
    })
    .await
}

/// Reads the content of the file.
pub(super) fn read(bytes: &[u8]) -> io::Result<StoredSecretIds> {
    // serde's own message could quote a value, which may be the secret.
    serde_json::from_slice(bytes)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is damaged"))
}

/// The content of the file that holds `stored`.
pub(super) fn content(stored: &StoredSecretIds) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(serde_json::to_vec(stored)?);
    text.push(b'\n');
    Ok(text)
}

/// Excludes other processes, and other sessions of this one, until it is dropped. Returns `None` if
/// one of them holds the lock until the deadline.
pub(super) async fn lock(path: &Path, deadline: Instant) -> io::Result<Option<File>> {
    loop {
        let path = path.with_extension("lock");
        if let Some(lock) = limited(move || try_lock(&path)).await? {
            return Ok(Some(lock));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        sleep(LOCK_INTERVAL).await;
    }
}

fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let options = options.create(true).write(true).truncate(false).mode(0o600);
    let file = options.open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The other user to whom the directory of the file belongs, if this is root: what root writes
/// there, that user cannot read.
pub(super) fn other_owner(path: &Path) -> Option<u32> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let owner = fs::metadata(directory).ok()?.uid();
    (rustix::process::geteuid().is_root() && owner != 0).then_some(owner)
}

/// Makes sure that the file can be written, before a token is spent for its content.
pub(super) async fn reserve(path: PathBuf) -> io::Result<AtomicFile> {
    limited(move || AtomicFile::reserve(&path, RESERVED_BYTES)).await
}

/// Writes `stored`; it is on the disk once this returns.
pub(super) async fn save(reserved: AtomicFile, stored: StoredSecretIds) -> io::Result<()> {
    blocking(move || reserved.commit(&content(&stored)?)).await
}

/// The same for what may be repeated: a file system that hangs is waited for no longer than this.
async fn limited<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = timeout(FILE_TIMEOUT, blocking(work)).await;
    done.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn record(secret_id: &str) -> SecretIdRecord {
        SecretIdRecord {
            secret_id: secret_id.to_owned(),
            wrapping_token: "hvs.x".to_owned(),
            creation_path: "auth/approle/role/plugin/secret-id".to_owned(),
        }
    }

    #[tokio::test]
    async fn stored_secret_ids_are_read_back_and_only_their_owner_can_read_them() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("kms.secret-id.json");
        fs::write(path.with_extension("new"), "left behind").expect("written");
        let stored = StoredSecretIds {
            current: record("b"),
            previous: Some(record("a")),
        };
        let reserved = reserve(path.clone()).await.expect("reserved");
        save(reserved, stored).await.expect("saved");
        let stored = load(path.clone()).await.expect("read").expect("a file");
        assert_eq!(stored.current.secret_id, "b");
        assert_eq!(stored.previous.expect("stored too").secret_id, "a");
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn only_one_at_a_time_holds_the_lock() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("kms.secret-id.json");
        let soon = || Instant::now() + LOCK_INTERVAL;
        let first = lock(&path, soon()).await.expect("a lock");
        assert!(first.is_some());
        assert!(lock(&path, soon()).await.expect("no lock").is_none());
        drop(first);
        assert!(lock(&path, soon()).await.expect("a lock").is_some());
    }

    #[tokio::test]
    async fn an_unused_reservation_leaves_no_file() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("kms.secret-id.json");
        drop(reserve(path.clone()).await.expect("reserved"));
        assert!(load(path).await.expect("read").is_none());
        assert_eq!(fs::read_dir(dir.path()).expect("directory").count(), 0);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_written_fails_before_a_token_is_spent() {
        let path = PathBuf::from("/proc/no/kms.secret-id.json");
        assert!(reserve(path).await.is_err());
        let dir = tempfile::tempdir().expect("directory");
        assert!(reserve(dir.path().to_owned()).await.is_err());
    }

    #[tokio::test]
    async fn the_error_of_a_damaged_file_does_not_show_its_content() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("kms.secret-id.json");
        fs::write(&path, "{\"current\":\"s3cret\"}").expect("written");
        let error = load(path).await.err().expect("damaged");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
