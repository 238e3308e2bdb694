//! A file that is replaced as a whole: readers see the old content or the new one, never a part.
//!
//! It is written under a unique temporary name in the same directory, with mode 0600, and renamed.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Space for a new content, already allocated on disk. Removed when dropped without a commit.
#[derive(Debug)]
pub struct AtomicFile {
    temporary: NamedTempFile,
    path: PathBuf,
}

impl AtomicFile {
    /// Allocates `size` bytes next to `path`, so that a later [`commit`](Self::commit) of at most
    /// that many cannot fail for want of space or permission.
    ///
    /// # Errors
    /// If the directory cannot be written to, the disk is full, or `path` is a directory.
    pub fn reserve(path: &Path, size: usize) -> io::Result<Self> {
        if path.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        let directory = path.parent().unwrap_or(Path::new("/"));
        let mut temporary = NamedTempFile::new_in(directory)?;
        temporary.write_all(&vec![b' '; size])?;
        temporary.as_file().sync_all()?;
        Ok(Self {
            temporary,
            path: path.to_owned(),
        })
    }

    /// Replaces the file's content; it is on disk once this returns.
    ///
    /// # Errors
    /// If writing or renaming fails; the old content then stays.
    pub fn commit(mut self, content: &[u8]) -> io::Result<()> {
        self.temporary.rewind()?;
        self.temporary.write_all(content)?;
        let file = self.temporary.as_file();
        file.set_len(content.len() as u64)?;
        // A rename can reach the disk before the data does.
        file.sync_all()?;
        self.temporary
            .persist(&self.path)
            .map_err(|error| error.error)?;
        // The rename itself should survive a loss of power. Not every file system can do that, and
        // the file exists all the same.
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
        Ok(())
    }
}

/// Replaces the content of the file at `path`.
///
/// # Errors
/// As [`AtomicFile::reserve`] and [`AtomicFile::commit`].
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    AtomicFile::reserve(path, 0)?.commit(content)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn two_writers_at_a_time_leave_one_whole_file_and_nothing_beside_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state.json");
        let first = AtomicFile::reserve(&path, 64).expect("space");
        let second = AtomicFile::reserve(&path, 64).expect("space");
        second.commit(b"second").expect("written");
        first.commit(b"first").expect("written");
        assert_eq!(fs::read(&path).expect("a file"), b"first");
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&directory).expect("a directory").count(), 1);
    }

    #[test]
    fn without_a_commit_the_old_content_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state.json");
        replace(&path, b"old").expect("written");
        drop(AtomicFile::reserve(&path, 8).expect("space"));
        assert_eq!(fs::read(&path).expect("a file"), b"old");
        assert_eq!(fs::read_dir(&directory).expect("a directory").count(), 1);
    }
}
