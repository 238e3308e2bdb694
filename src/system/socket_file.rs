//! A socket in the file system: bound under a temporary name, given its permissions, then renamed to
//! its path, so that at no moment it is missing or has another mode. A socket in use and a file that is
//! no socket are never replaced. A lock beside the socket lets only one process replace a stale one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use thiserror::Error;
use tokio::net::UnixListener;

use crate::telemetry::events;

/// Who may use a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketPermissions {
    /// The file's mode.
    pub mode: u32,
    /// Its owner, if not the process's user.
    pub owner: Option<u32>,
    /// Its group, if not the process's group.
    pub group: Option<u32>,
}

/// Why there is no socket. The caller adds the configuration's key.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Another process listens there.
    #[error("another process already serves {0}: stop it first")]
    Alive(String),
    /// Another process is about to listen there.
    #[error("another process has locked {lock} and is about to serve {path}: stop it first")]
    Locked {
        /// The file that it locked.
        lock: String,
        /// Where it will listen.
        path: String,
    },
    /// The path is in use by something that must not be removed.
    #[error("{0} exists and is no socket: move it away or choose another path")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot {attempt} {path}: {cause}{remedy}")]
    System {
        /// What was attempted.
        attempt: &'static str,
        /// On which path.
        path: String,
        /// The system's error.
        cause: io::Error,
        /// What to do, if known.
        remedy: &'static str,
    },
}

/// The file of a bound socket. Removed when dropped, unless another process has replaced it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// The file's identity.
    device: u64,
    inode: u64,
    /// Released after the file was removed. The locked file stays: removed, it could not be seen by
    /// a process that has opened it already.
    _lock: Option<File>,
}

impl SocketError {
    /// An error of the system, with its remedy.
    pub fn system(attempt: &'static str, path: impl ToString, cause: io::Error) -> Self {
        let remedy = match cause.kind() {
            ErrorKind::NotFound => {
                "; create its directory first (RuntimeDirectory= does so under systemd)"
            }
            ErrorKind::PermissionDenied => "; let the plugin's user write to its directory",
            _ => "",
        };
        Self::System {
            attempt,
            path: path.to_string(),
            cause,
            remedy,
        }
    }
}

impl SocketFile {
    /// Binds a socket. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// As [`SocketError`]; nothing is left behind then.
    pub fn bind(
        path: &Path,
        permissions: SocketPermissions,
    ) -> Result<(UnixListener, Self), SocketError> {
        let stale = is_stale(path)?;
        let lock = lock(path)?;
        if stale {
            let path = path.display().to_string();
            events::StaleSocket { path }.emit();
        }
        let attempt = |attempt| move |cause| refused(attempt, path, cause);
        let fresh = temporary_name(path);
        let listener = StdListener::bind(&fresh).map_err(attempt("bind"))?;
        let permitted = permissions
            .apply(&fresh)
            .map_err(attempt("set mode and owner of"));
        let moved =
            permitted.and_then(|()| fs::rename(&fresh, path).map_err(attempt("move a socket to")));
        if let Err(error) = moved {
            let _ = fs::remove_file(&fresh);
            return Err(error);
        }
        let (device, inode) = identity(path).map_err(attempt("look at"))?;
        let file = Self {
            path: path.to_owned(),
            device,
            inode,
            _lock: lock,
        };
        Ok((into_tokio(listener, path.display())?, file))
    }

    /// Sets another mode and owner.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn set_permissions(&self, permissions: SocketPermissions) -> Result<(), SocketError> {
        let permitted = permissions.apply(&self.path);
        permitted.map_err(|cause| refused("set mode and owner of", &self.path, cause))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another instance may have replaced the file meanwhile.
        if identity(&self.path).is_ok_and(|there| there == (self.device, self.inode))
            && let Err(error) = fs::remove_file(&self.path)
        {
            events::SocketNotRemoved {
                path: self.path.display().to_string(),
                error: error.to_string(),
            }
            .emit();
        }
    }
}

impl SocketPermissions {
    fn apply(self, path: &Path) -> io::Result<()> {
        if self.owner.is_some() || self.group.is_some() {
            chown(path, self.owner, self.group)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(self.mode))
    }
}

/// Converts a listener for tokio, inside whose runtime this must be called; `name` is for the error.
///
/// # Errors
/// If the system refuses.
pub fn into_tokio(listener: StdListener, name: impl ToString) -> Result<UnixListener, SocketError> {
    let nonblocking = listener.set_nonblocking(true);
    let listener = nonblocking.and_then(|()| UnixListener::from_std(listener));
    listener.map_err(|cause| SocketError::system("listen on", name, cause))
}

/// Returns whether there is a socket at this path, without connecting to it.
///
/// # Errors
/// If something else is there, or the system refuses to look.
pub fn is_taken(path: &Path) -> Result<bool, SocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(refused("look at", path, error)),
        Ok(metadata) if metadata.file_type().is_socket() => Ok(true),
        Ok(_) => Err(SocketError::NotASocket(path.to_owned())),
    }
}

/// Whether there is a socket that nobody listens on: one that refuses connections was left behind by
/// a crash or a power loss. Never waits: a stopped process accepts nothing.
fn is_stale(path: &Path) -> Result<bool, SocketError> {
    if !is_taken(path)? {
        return Ok(false);
    }
    match try_connect(path) {
        // Its queue is full, so there is one.
        Ok(()) | Err(Errno::AGAIN) => Err(SocketError::Alive(path.display().to_string())),
        Err(Errno::CONNREFUSED) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(refused("probe", path, error.into())),
    }
}

fn try_connect(path: &Path) -> Result<(), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)
}

/// Locks `<path>.lock` for as long as the socket exists. `None` on a file system without locks.
fn lock(path: &Path) -> Result<Option<File>, SocketError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    // Whoever can open it could hold it. Neither a link is followed nor a pipe waited for.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(&name)
        .map_err(|cause| refused("open", &name, cause))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(SocketError::Locked {
            lock: name.display().to_string(),
            path: path.display().to_string(),
        }),
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(None),
        Err(TryLockError::Error(cause)) => Err(refused("lock", &name, cause)),
    }
}

/// In the same directory, and short: the kernel allows 107 bytes for the path.
fn temporary_name(path: &Path) -> PathBuf {
    let random: String = std::iter::repeat_with(fastrand::alphanumeric)
        .take(5)
        .collect();
    path.with_file_name(format!(".{random}"))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn refused(attempt: &'static str, path: &Path, cause: io::Error) -> SocketError {
    SocketError::system(attempt, path.display(), cause)
}
