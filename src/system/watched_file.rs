//! Files that are read again when they change: a fingerprint that shows a change, a bounded read,
//! and whether every local user can read the file. All of it blocks.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use thiserror::Error;
use zeroize::Zeroizing;

const READABLE_BY_OTHERS: u32 = 0o004;

/// Differs once one of several files was written, replaced, added or removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint(Vec<(PathBuf, Option<FileState>)>);

/// Inode, length and time of the last change.
type FileState = (u64, u64, i64, i64);

/// What a file holds.
#[derive(Debug)]
pub struct Content {
    /// Its bytes, which may be a secret.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Whether every local user can read the file.
    pub is_world_readable: bool,
}

/// Why a file could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It cannot be opened.
    #[error("cannot be opened: {0}")]
    Open(#[source] io::Error),
    /// It was opened, but reading failed.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// It holds more bytes than the limit.
    #[error("is larger than {} KiB", .0 / 1024)]
    TooLarge(u64),
}

/// What to do about a file or a directory that this process may not read.
const LET_IT_READ: &str = "let the plugin's user read it: the group of the plugin and mode \
                               0640, and for each directory above it the right to enter";

impl ReadError {
    /// What to do about it, if it is the mode of the file.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Open(cause) => remedy(cause),
            Self::Read(_) | Self::TooLarge(_) => None,
        }
    }
}

/// What to do about this error of opening a file or a directory, if it is the mode.
#[must_use]
pub fn remedy(cause: &io::Error) -> Option<&'static str> {
    (cause.kind() == ErrorKind::PermissionDenied).then_some(LET_IT_READ)
}

/// The state of these files now. A symbolic link counts as its target, a directory as its files.
#[must_use]
pub fn fingerprint(paths: &[PathBuf]) -> Fingerprint {
    let mut all = Vec::new();
    for path in paths {
        let inner = files_in(path).unwrap_or_default();
        for file in inner.into_iter().chain([path.clone()]) {
            let state = fs::metadata(&file).ok().map(|data| state(&data));
            all.push((file, state));
        }
    }
    Fingerprint(all)
}

fn state(data: &Metadata) -> FileState {
    (data.ino(), data.len(), data.mtime(), data.mtime_nsec())
}

/// The files of a directory, sorted by name.
///
/// # Errors
/// When the directory cannot be read.
pub fn files_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a file of at most `max_bytes`.
///
/// # Errors
/// As [`ReadError`].
pub fn read(path: &Path, max_bytes: u64) -> Result<Content, ReadError> {
    // A pipe would be waited for until another process opens it.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(ReadError::Open)?;
    let data = file.metadata().map_err(ReadError::Read)?;
    if !(data.is_file() || data.is_dir()) {
        let error = io::Error::new(ErrorKind::InvalidInput, "it is not a regular file");
        return Err(ReadError::Open(error));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(max_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(ReadError::Read)?;
    if bytes.len() as u64 > max_bytes {
        return Err(ReadError::TooLarge(max_bytes));
    }
    Ok(Content {
        bytes,
        is_world_readable: data.mode() & READABLE_BY_OTHERS != 0,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_replaced_file_and_a_new_file_of_a_directory_change_the_fingerprint() {
        let dir = tempfile::tempdir().expect("directory");
        let paths = [dir.path().to_owned()];
        let empty = fingerprint(&paths);
        fs::write(dir.path().join("a"), "1").expect("written");
        let one = fingerprint(&paths);
        assert_ne!(empty, one);
        assert_eq!(one, fingerprint(&paths));
        fs::write(dir.path().join("a"), "22").expect("written");
        assert_ne!(one, fingerprint(&paths));
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("pipe");
        let kind = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).expect("a pipe");
        let error = read(&path, 5).expect_err("a pipe");
        assert_eq!(
            error.to_string(),
            "cannot be opened: it is not a regular file"
        );
    }

    #[test]
    fn a_read_is_bounded_and_reports_who_can_read_the_file() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("a");
        fs::write(&path, "12345").expect("written");
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&path, private).expect("permissions");
        let content = read(&path, 5).expect("read");
        assert_eq!(*content.bytes, b"12345");
        assert!(!content.is_world_readable);
        assert!(matches!(read(&path, 4), Err(ReadError::TooLarge(4))));
        let public = fs::Permissions::from_mode(0o604);
        fs::set_permissions(&path, public).expect("permissions");
        assert!(read(&path, 5).expect("read").is_world_readable);
        assert!(matches!(
            read(&dir.path().join("b"), 5),
            Err(ReadError::Open(_))
        ));
    }
}
