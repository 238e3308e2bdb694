//! A socket that systemd listens on and passes to the process (`LISTEN_FDS`, `sd_listen_fds(3)`).

use std::io;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use thiserror::Error;

/// The socket, created and owned by systemd: the socket unit sets its path, mode and owner.
#[derive(Debug)]
pub struct PassedSocket(pub(super) UnixListener);

/// Why what was passed cannot be used.
#[derive(Debug, Error)]
pub enum PassedError {
    /// One listener serves all of kube-apiserver's calls.
    #[error(
        "LISTEN_FDS: systemd passed {0} sockets, one is wanted: leave one ListenStream= in the socket unit"
    )]
    NotOne(usize),
    /// It is no listening socket.
    #[error(
        "LISTEN_FDS: systemd passed something other than a listening unix stream socket ({0}): give the socket unit ListenStream= with a path and Accept=no"
    )]
    NotAListener(io::Error),
}

impl PassedSocket {
    /// Takes the socket, if one was passed to this process. Must be called before there are threads: it
    /// removes the variables, which must not reach child processes.
    ///
    /// # Errors
    /// As [`PassedError`].
    pub fn take() -> Result<Option<Self>, PassedError> {
        // The crate accepts a count without a process id; systemd always sets one.
        if std::env::var_os("LISTEN_PID").is_none() {
            return Ok(None);
        }
        let mut passed = ListenFd::from_env();
        match passed.len() {
            0 => return Ok(None),
            1 => {}
            count => return Err(PassedError::NotOne(count)),
        }
        let listener = passed.take_unix_listener(0);
        let Some(listener) = listener.map_err(PassedError::NotAListener)? else {
            return Ok(None);
        };
        match socket_acceptconn(&listener) {
            Ok(true) => Ok(Some(Self(listener))),
            Ok(false) => Err(PassedError::NotAListener(io::Error::other(
                "it does not listen",
            ))),
            Err(error) => Err(PassedError::NotAListener(error.into())),
        }
    }
}
