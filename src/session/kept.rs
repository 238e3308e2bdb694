//! The secret_ids that were unwrapped: kept in a file of mode 0600 beside the state file, because
//! nobody can unwrap them a second time.
//!
//! Decides nothing: what is unwrapped and when stands in `login/wrapped.rs`.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::system::atomic_file::AtomicFile;

/// What is set aside on the disk before a token is spent: above two secret_ids with their tokens.
const RESERVE: usize = 8 * 1024;

/// What the file holds.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The secret_id to log in with.
    pub(super) newest: Unwrapped,
    /// The one before, until the newest has logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Unwrapped>,
}

/// A secret_id, and where it came from.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct Unwrapped {
    pub(super) secret_id: String,
    /// The wrapping token, which is spent: says whether the one in its file is another.
    pub(super) wrapping_token: String,
    /// What the token wrapped, which names the mount and the role.
    #[zeroize(skip)]
    pub(super) creation_path: String,
}

/// What is kept; nothing where there is no file.
pub(super) async fn load(path: PathBuf) -> io::Result<Option<Kept>> {
    blocking(move || {
        let bytes = match fs::read(&path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // serde's own message could quote a value, which may be the secret.
        let kept = serde_json::from_slice(&bytes);
        kept.map(Some)
            .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is damaged"))
    })
    .await
}

/// Makes sure that a file can be kept there before a token is spent for what it shall hold.
pub(super) async fn reserve(path: PathBuf) -> io::Result<AtomicFile> {
    blocking(move || AtomicFile::reserve(&path, RESERVE)).await
}

/// Writes `kept`, safe on the disk once this returns.
pub(super) async fn save(reserved: AtomicFile, kept: Kept) -> io::Result<()> {
    blocking(move || {
        let mut text = Zeroizing::new(serde_json::to_vec(&kept)?);
        text.push(b'\n');
        reserved.commit(&text)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn unwrapped(secret_id: &str) -> Unwrapped {
        Unwrapped {
            secret_id: secret_id.to_owned(),
            wrapping_token: "hvs.x".to_owned(),
            creation_path: "auth/approle/role/plugin/secret-id".to_owned(),
        }
    }

    #[tokio::test]
    async fn what_is_kept_is_read_back_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("kms.secret-id.json");
        fs::write(path.with_extension("new"), "left behind").expect("written");
        let kept = Kept {
            newest: unwrapped("b"),
            before: Some(unwrapped("a")),
        };
        let reserved = reserve(path.clone()).await.expect("reserved");
        save(reserved, kept).await.expect("saved");
        let kept = load(path.clone()).await.expect("read").expect("there");
        assert_eq!(kept.newest.secret_id, "b");
        assert_eq!(kept.before.expect("kept too").secret_id, "a");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_reservation_that_is_not_used_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("kms.secret-id.json");
        drop(reserve(path.clone()).await.expect("reserved"));
        assert!(load(path).await.expect("read").is_none());
        assert_eq!(fs::read_dir(dir.path()).expect("directory").count(), 0);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_written_is_told_before_anything_is_spent() {
        let path = PathBuf::from("/proc/no/kms.secret-id.json");
        assert!(reserve(path).await.is_err());
        let dir = tempfile::tempdir().expect("directory");
        assert!(reserve(dir.path().to_owned()).await.is_err());
    }

    #[tokio::test]
    async fn a_damaged_file_is_told_without_its_content() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("kms.secret-id.json");
        fs::write(&path, "{\"newest\":\"s3cret\"}").expect("written");
        let error = load(path).await.err().expect("damaged");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
