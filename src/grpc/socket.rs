//! The listening socket of kube-apiserver: a file, a name in the kernel's abstract namespace, or one
//! that systemd passed (`passed`), whose file is systemd's.

mod passed;

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::getegid;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

use crate::system::socket_file::{self, SocketError, SocketFile, SocketPermissions};
use crate::telemetry::events;
pub use passed::{PassedError, PassedSocket};

/// Members of the group may connect.
const GROUP_WRITES: u32 = 0o020;

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
    /// The file's mode and owner.
    pub permissions: SocketPermissions,
}

/// Why there is no socket.
#[derive(Debug, Error)]
#[error("socket.path: {0}")]
pub struct BindError(#[from] pub SocketError);

/// A listening socket: bound here, or passed by systemd. When dropped, its file is removed, unless
/// another process has replaced it or systemd owns it.
#[derive(Debug)]
pub struct BoundSocket {
    /// Dropped before the listener: there must be no file without a listener.
    file: Option<SocketFile>,
    listener: UnixListener,
    passed: bool,
    /// The group that the mode of the file lets write; `None` if it is not known.
    group: Mutex<Option<u32>>,
}

impl BoundSocket {
    /// Binds a socket. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// As [`BindError`].
    pub fn bind(settings: &Settings) -> Result<Self, BindError> {
        let (listener, file) = match &settings.path {
            SocketPath::File(path) => {
                let (listener, file) = SocketFile::bind(path, settings.permissions)?;
                (listener, Some((file, settings.permissions)))
            }
            SocketPath::Abstract(name) => {
                let listener = bind_abstract(name)?;
                (socket_file::into_tokio(listener, &settings.path)?, None)
            }
        };
        Ok(Self::listening(
            listener,
            file,
            settings.path.to_string(),
            false,
        ))
    }

    /// Checks, without connecting, that nothing but a socket is at this path.
    ///
    /// # Errors
    /// If something else is there.
    pub fn refuse_other_files(path: &SocketPath) -> Result<(), BindError> {
        match path {
            SocketPath::File(path) => Ok(socket_file::is_taken(path).map(drop)?),
            SocketPath::Abstract(_) => Ok(()),
        }
    }

    /// Serves on a socket that was passed: its file is neither changed nor removed. Must be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn adopt(PassedSocket(listener): PassedSocket) -> Result<Self, BindError> {
        let name = listener.local_addr().map(|address| name_of(&address));
        let name = name.unwrap_or_else(|_| "passed by systemd".to_owned());
        let listener = socket_file::into_tokio(listener, &name)?;
        Ok(Self::listening(listener, None, name, true))
    }

    fn listening(
        listener: UnixListener,
        file: Option<(SocketFile, SocketPermissions)>,
        socket: String,
        passed: bool,
    ) -> Self {
        events::Listening { socket, passed }.emit();
        let (file, permissions) = file.unzip();
        Self {
            file,
            listener,
            passed,
            group: Mutex::new(permissions.and_then(group_that_writes)),
        }
    }

    /// Whether the file is writable for one of these groups, so that the kernel has seen at `connect` that a
    /// peer is a member, be it by a supplementary group, its owner or root.
    #[must_use]
    pub fn is_for_one_of(&self, groups: &[u32]) -> bool {
        self.group().is_some_and(|group| groups.contains(&group))
    }

    fn group(&self) -> MutexGuard<'_, Option<u32>> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether systemd passed it: then the socket unit sets its path, mode and owner, whatever the
    /// configuration says.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.passed
    }

    /// Gives the file the mode and owner of these settings; a name without a file has neither.
    ///
    /// # Errors
    /// As [`BindError`].
    pub fn set_permissions(&self, settings: &Settings) -> Result<(), BindError> {
        match &self.file {
            Some(file) => {
                // Of what fails half way nothing is known.
                *self.group() = None;
                file.set_permissions(settings.permissions)?;
                *self.group() = group_that_writes(settings.permissions);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The next connection.
    ///
    /// # Errors
    /// What `accept` gives, such as a lack of file descriptors; later ones may work again.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl SocketPath {
    /// Connects to it, as a client does.
    ///
    /// # Errors
    /// As the system refuses it.
    pub async fn connect(&self) -> io::Result<UnixStream> {
        match self {
            Self::File(path) => UnixStream::connect(path).await,
            // How tokio writes a name without a file.
            Self::Abstract(name) => UnixStream::connect(format!("\0{name}")).await,
        }
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

/// A mode that lets everybody write is refused with the configuration.
fn group_that_writes(permissions: SocketPermissions) -> Option<u32> {
    let group = permissions.group.unwrap_or_else(|| getegid().as_raw());
    (permissions.mode & GROUP_WRITES != 0).then_some(group)
}

/// As the configuration would write it.
fn name_of(address: &SocketAddr) -> String {
    match (address.as_pathname(), address.as_abstract_name()) {
        (Some(path), _) => path.display().to_string(),
        (_, Some(name)) => format!("@{}", String::from_utf8_lossy(name)),
        _ => "passed by systemd".to_owned(),
    }
}

fn bind_abstract(name: &str) -> Result<StdListener, SocketError> {
    let bound = SocketAddr::from_abstract_name(name).and_then(|at| StdListener::bind_addr(&at));
    bound.map_err(|cause| match cause.kind() {
        ErrorKind::AddrInUse => SocketError::Alive(format!("@{name}")),
        _ => SocketError::system("bind", format_args!("@{name}"), cause),
    })
}
