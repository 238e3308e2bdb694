//! A socket in the file system: bound under a temporary name, dressed, then moved to its place, so
//! that there is no moment without one or with another mode. A living one is respected, a file that
//! is no socket never touched.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener as StdListener, UnixStream};
use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;
use tokio::net::UnixListener;

use crate::telemetry::events;

/// Who may use a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketPermissions {
    /// The file's mode.
    pub mode: u32,
    /// Its owner, where that is not the process's.
    pub owner: Option<u32>,
    /// Its group, where that is not the process's.
    pub group: Option<u32>,
}

/// Why there is no socket. Whoever asked for it knows the configuration's key.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Another process answers there.
    #[error("another process already serves {0}: stop it first")]
    Alive(String),
    /// The path is taken by something that is not ours to remove.
    #[error("{0} exists and is no socket: move it away or choose another path")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot {attempt} {path}: {cause}{remedy}")]
    System {
        /// What was attempted.
        attempt: &'static str,
        /// On which path.
        path: String,
        /// The system's words.
        cause: io::Error,
        /// What to do, where that can be told.
        remedy: &'static str,
    },
}

/// The file of a socket that was bound here. When dropped, it is removed if it is still ours.
#[derive(Debug, PartialEq, Eq)]
pub struct SocketFile {
    path: PathBuf,
    /// What the kernel knows it as.
    device: u64,
    inode: u64,
}

impl SocketError {
    /// What the system said.
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
    /// Binds. Has to be called inside a tokio runtime.
    ///
    /// # Errors
    /// As [`SocketError`]; nothing is left behind then.
    pub fn bind(
        path: &Path,
        dress: SocketPermissions,
    ) -> Result<(UnixListener, Self), SocketError> {
        make_sure_it_is_free(path)?;
        let attempt = |attempt| move |cause| refused(attempt, path, cause);
        let fresh = temporary_name(path);
        let listener = StdListener::bind(&fresh).map_err(attempt("bind"))?;
        let dressed = dress
            .put_on(&fresh)
            .map_err(attempt("set mode and owner of"));
        let moved =
            dressed.and_then(|()| fs::rename(&fresh, path).map_err(attempt("move a socket to")));
        if let Err(error) = moved {
            let _ = fs::remove_file(&fresh);
            return Err(error);
        }
        let (device, inode) = identity(path).map_err(attempt("look at"))?;
        let file = Self {
            path: path.to_owned(),
            device,
            inode,
        };
        Ok((ready_for_tokio(listener, path.display())?, file))
    }

    /// Gives it another mode and owner.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn dress(&self, dress: SocketPermissions) -> Result<(), SocketError> {
        let dressed = dress.put_on(&self.path);
        dressed.map_err(|cause| refused("set mode and owner of", &self.path, cause))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another instance may have taken the path over meanwhile.
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
    fn put_on(self, path: &Path) -> io::Result<()> {
        if self.owner.is_some() || self.group.is_some() {
            chown(path, self.owner, self.group)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(self.mode))
    }
}

/// The same listener for tokio, in whose runtime this has to be called; `name` is for the error.
///
/// # Errors
/// When the system refuses.
pub fn ready_for_tokio(
    listener: StdListener,
    name: impl ToString,
) -> Result<UnixListener, SocketError> {
    let nonblocking = listener.set_nonblocking(true);
    let listener = nonblocking.and_then(|()| UnixListener::from_std(listener));
    listener.map_err(|cause| SocketError::system("listen on", name, cause))
}

/// Whether there is a socket, as far as that can be told without asking who listens there.
///
/// # Errors
/// Where something else is, or the system refuses to tell.
pub fn is_taken(path: &Path) -> Result<bool, SocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(refused("look at", path, error)),
        Ok(metadata) if metadata.file_type().is_socket() => Ok(true),
        Ok(_) => Err(SocketError::NotASocket(path.to_owned())),
    }
}

/// A socket that refuses connections is what a power loss left behind; it may be replaced.
fn make_sure_it_is_free(path: &Path) -> Result<(), SocketError> {
    if !is_taken(path)? {
        return Ok(());
    }
    let name = path.display().to_string();
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::Alive(name)),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            events::StaleSocket { path: name }.emit();
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(refused("probe", path, error)),
    }
}

/// In the same directory, and no longer than most names: the kernel takes 107 bytes in all.
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
