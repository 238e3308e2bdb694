//! The listening socket: bound under a temporary name, then moved to its place, so that there is
//! no moment without one; a living one is respected, a file that is no socket never touched. Or one
//! that systemd passed (`passed`), whose file is systemd's.

mod passed;

use std::fmt;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

use crate::events;

pub use passed::{PassedError, PassedSocket};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketPath {
    /// A file.
    File(PathBuf),
    /// A name in the kernel's abstract namespace, without its `@`.
    Abstract(String),
}

/// Where to listen, and who owns the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where.
    pub path: SocketPath,
    /// The file's mode.
    pub mode: u32,
    /// The file's owner, where it is not the process's.
    pub owner: Option<u32>,
    /// The file's group, where it is not the process's.
    pub group: Option<u32>,
}

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another process answers there.
    #[error("socket.path: another process already serves {0}: stop it first")]
    Alive(String),
    /// The path is taken by something that is not ours to remove.
    #[error("socket.path: {0} exists and is no socket: move it away or choose another path")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("socket.path: cannot {attempt} {path}: {cause}{mend}")]
    System {
        /// What was attempted.
        attempt: &'static str,
        /// On which path.
        path: String,
        /// The system's words.
        cause: io::Error,
        /// What to do, where that can be told.
        mend: &'static str,
    },
}

/// A listening socket: bound here, or passed by systemd. When dropped, its file is removed if it is
/// still ours; one of systemd's never is.
#[derive(Debug)]
pub struct BoundSocket {
    listener: UnixListener,
    file: Option<OwnFile>,
    passed: bool,
}

/// A file, by its name and by what the kernel knows it as.
#[derive(Debug, PartialEq, Eq)]
struct OwnFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl BoundSocket {
    /// Binds. Has to be called inside a tokio runtime.
    ///
    /// # Errors
    /// As [`BindError`].
    pub fn bind(settings: &Settings) -> Result<Self, BindError> {
        let (listener, file) = match &settings.path {
            SocketPath::File(path) => bind_file(path, settings)?,
            SocketPath::Abstract(name) => (bind_abstract(name)?, None),
        };
        let attempt = |cause| system("listen on", &settings.path, cause);
        let listener = ready_for_tokio(listener).map_err(attempt)?;
        events::Listening {
            socket: settings.path.to_string(),
            passed: false,
        }
        .tell();
        Ok(Self {
            listener,
            file,
            passed: false,
        })
    }

    /// Whether a socket could be at this place, as far as that can be told without asking who
    /// listens there.
    ///
    /// # Errors
    /// Where the place is taken by something that is no socket.
    pub fn refuse_other_files(path: &SocketPath) -> Result<(), BindError> {
        match path {
            SocketPath::File(path) => is_taken(path).map(drop),
            SocketPath::Abstract(_) => Ok(()),
        }
    }

    /// Serves on a socket that was passed: its file is neither dressed nor ever removed. Has to be
    /// called inside a tokio runtime.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn adopt(PassedSocket(listener): PassedSocket) -> Result<Self, BindError> {
        let socket = listener.local_addr().map(|address| name_of(&address));
        let socket = socket.unwrap_or_else(|_| "passed by systemd".to_owned());
        let listener = ready_for_tokio(listener).map_err(|cause| BindError::System {
            attempt: "listen on",
            path: socket.clone(),
            cause,
            mend: "",
        })?;
        events::Listening {
            socket,
            passed: true,
        }
        .tell();
        Ok(Self {
            listener,
            file: None,
            passed: true,
        })
    }

    /// Whether systemd passed it: then its path, mode and owner are the socket unit's, whatever the
    /// configuration says.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.passed
    }

    /// Gives the file the mode and owner of these settings; a name without a file has neither.
    ///
    /// # Errors
    /// As [`BindError`].
    pub fn dress(&self, settings: &Settings) -> Result<(), BindError> {
        let Some(own) = &self.file else { return Ok(()) };
        dress(&own.path, settings)
            .map_err(|cause| system("set mode and owner of", &settings.path, cause))
    }

    /// The next connection.
    ///
    /// # Errors
    /// What `accept` gives, such as a lack of file descriptors; later ones may work again.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        let Some(own) = self.file.take() else { return };
        // Another instance may have taken the path over meanwhile.
        if OwnFile::at(&own.path).is_ok_and(|there| there == own)
            && let Err(error) = fs::remove_file(&own.path)
        {
            events::SocketLeft {
                path: own.path.display().to_string(),
                error: error.to_string(),
            }
            .tell();
        }
    }
}

impl OwnFile {
    fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

fn ready_for_tokio(listener: StdListener) -> io::Result<UnixListener> {
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// As the configuration would write it.
fn name_of(address: &SocketAddr) -> String {
    match (address.as_pathname(), address.as_abstract_name()) {
        (Some(path), _) => path.display().to_string(),
        (_, Some(name)) => format!("@{}", String::from_utf8_lossy(name)),
        _ => "passed by systemd".to_owned(),
    }
}

fn bind_file(
    path: &Path,
    settings: &Settings,
) -> Result<(StdListener, Option<OwnFile>), BindError> {
    make_sure_it_is_free(path)?;
    let attempt = |attempt| move |cause| system(attempt, &settings.path, cause);
    let fresh = temporary_name(path);
    let listener = StdListener::bind(&fresh).map_err(attempt("bind"))?;
    let dressed = dress(&fresh, settings).map_err(attempt("set mode and owner of"));
    let moved =
        dressed.and_then(|()| fs::rename(&fresh, path).map_err(attempt("move a socket to")));
    if let Err(error) = moved {
        let _ = fs::remove_file(&fresh);
        return Err(error);
    }
    let file = OwnFile::at(path).map_err(attempt("look at"))?;
    Ok((listener, Some(file)))
}

fn bind_abstract(name: &str) -> Result<StdListener, BindError> {
    let bound = SocketAddr::from_abstract_name(name).and_then(|at| StdListener::bind_addr(&at));
    bound.map_err(|cause| match cause.kind() {
        ErrorKind::AddrInUse => BindError::Alive(format!("@{name}")),
        _ => system("bind", &SocketPath::Abstract(name.to_owned()), cause),
    })
}

/// A socket that refuses connections is what a power loss left behind; it may be replaced.
fn make_sure_it_is_free(path: &Path) -> Result<(), BindError> {
    if !is_taken(path)? {
        return Ok(());
    }
    match StdStream::connect(path) {
        Ok(_) => Err(BindError::Alive(path.display().to_string())),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            let path = path.display().to_string();
            events::StaleSocket { path }.tell();
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(system("probe", &SocketPath::File(path.to_owned()), error)),
    }
}

/// Whether there is a socket; nothing else may be there.
fn is_taken(path: &Path) -> Result<bool, BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(system("look at", &SocketPath::File(path.to_owned()), error)),
        Ok(metadata) if metadata.file_type().is_socket() => Ok(true),
        Ok(_) => Err(BindError::NotASocket(path.to_owned())),
    }
}

/// In the same folder, and no longer than most names: the kernel takes 107 bytes in all.
fn temporary_name(path: &Path) -> PathBuf {
    let random: String = std::iter::repeat_with(fastrand::alphanumeric)
        .take(5)
        .collect();
    path.with_file_name(format!(".{random}"))
}

fn dress(path: &Path, settings: &Settings) -> io::Result<()> {
    if settings.owner.is_some() || settings.group.is_some() {
        chown(path, settings.owner, settings.group)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(settings.mode))
}

fn system(attempt: &'static str, path: &SocketPath, cause: io::Error) -> BindError {
    let mend = match cause.kind() {
        ErrorKind::NotFound => {
            "; create its folder first (RuntimeDirectory= does so under systemd)"
        }
        ErrorKind::PermissionDenied => "; let the plugin's user write to its folder",
        _ => "",
    };
    BindError::System {
        attempt,
        path: path.to_string(),
        cause,
        mend,
    }
}
