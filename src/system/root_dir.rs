//! The file system as another process sees it: a container's, with its mounts and links.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};

/// Far more than any configuration.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The root directory of a process.
#[derive(Debug)]
pub struct RootDir(OwnedFd);

impl RootDir {
    /// Of the process with this id.
    ///
    /// # Errors
    /// If it is gone, or of another user and this process is not root.
    pub fn of(pid: u32) -> io::Result<Self> {
        let path = format!("/proc/{pid}/root");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, path, flags, Mode::empty())?))
    }

    /// A file in it, with the permissions that this thread has now. It can be named, not read: see
    /// [`path_of`]. Links, absolute ones too, stay inside.
    ///
    /// # Errors
    /// As the system refuses it.
    pub fn find(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = openat2(&self.0, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
        Ok(file)
    }

    /// The content of a regular file in it, with the permissions that this thread has now. Nothing else is
    /// opened: to open a device may do something.
    ///
    /// # Errors
    /// As the system refuses it; if it is no regular file, or too large.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let found = self.find(path)?;
        if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("is no regular file"));
        }
        let mut content = Vec::new();
        let file = File::open(path_of(&found))?;
        file.take(MAX_BYTES + 1).read_to_end(&mut content)?;
        if content.len() as u64 > MAX_BYTES {
            return Err(io::Error::other("is larger than 4 MiB"));
        }
        Ok(content)
    }

    /// The device and inode of a file in it.
    ///
    /// # Errors
    /// As the system refuses it.
    pub fn inode(&self, path: &Path) -> io::Result<(u64, u64)> {
        let file = fstat(self.find(path)?)?;
        Ok((file.st_dev, file.st_ino))
    }
}

/// A path that leads to an open file.
#[must_use]
pub fn path_of(file: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_from_the_root_of_this_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a");
        std::fs::write(&path, "content").expect("a file");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        let root = RootDir::of(std::process::id()).expect("the root directory");
        let inode = root.inode(&path).expect("an inode");
        assert_eq!(root.inode(&link).expect("an inode"), inode);
        assert_eq!(root.read(&link).expect("its content"), b"content");
        for wrong in ["/dev/zero", "/proc/self"] {
            assert!(root.read(Path::new(wrong)).is_err(), "{wrong}");
        }
        let missing = root.inode(&dir.path().join("b")).expect_err("no file");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let found = root.find(&link).expect("the file");
        assert_eq!(
            std::fs::read(path_of(&found)).expect("its content"),
            b"content"
        );
    }
}
