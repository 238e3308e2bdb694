//! Why there is no JWT-SVID, and what to do.

use std::path::{Path, PathBuf};

use thiserror::Error;
use tonic::{Code, Status};

/// Why there is no JWT-SVID.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// Nothing listens there, or not for us.
    #[error(
        "auth.spiffe_socket: {} cannot be connected to: {cause}; start the SPIFFE agent, or correct the path",
        socket.display()
    )]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// The system's words.
        cause: String,
    },
    /// The agent did not answer.
    #[error("auth.spiffe_socket: no answer in time from {}", .0.display())]
    TimedOut(PathBuf),
    /// The agent does not know this process.
    #[error(
        "the SPIFFE agent at {} has no identity for this process ({message}): register an entry whose \
         selectors match it, such as unix:uid:{uid}",
        socket.display()
    )]
    NoIdentity {
        /// The socket.
        socket: PathBuf,
        /// The agent's words.
        message: String,
        /// The user that we run as.
        uid: u32,
    },
    /// The agent refused for another reason, or failed.
    #[error("the SPIFFE agent at {} answered {code}: {message}", socket.display())]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// The gRPC code.
        code: Code,
        /// The agent's words.
        message: String,
    },
    /// Identities came, but none that is wanted.
    #[error(
        "the SPIFFE agent offers {}, but {wanted} is wanted: correct the key, or the entry of this process",
        listed(offered)
    )]
    NotOffered {
        /// What the configuration asks for.
        wanted: String,
        /// The identities that came.
        offered: Vec<String>,
    },
}

impl FetchError {
    pub(super) fn refused(socket: &Path, status: &Status) -> Self {
        let (socket, message) = (socket.to_owned(), status.message().to_owned());
        match status.code() {
            Code::PermissionDenied => Self::NoIdentity {
                socket,
                message,
                uid: rustix::process::geteuid().as_raw(),
            },
            code => Self::Refused {
                socket,
                code,
                message,
            },
        }
    }

    /// Whether the agent may well answer a moment later with nothing changed by an operator.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut(_) => true,
            Self::NoIdentity { .. } | Self::NotOffered { .. } => false,
            Self::Refused { code, .. } => *code != Code::InvalidArgument,
        }
    }
}

fn listed(ids: &[String]) -> String {
    match ids {
        [] => "no identity".to_owned(),
        // Enough to see what is wrong; the text goes to kube-apiserver.
        ids => ids[..ids.len().min(5)].join(", "),
    }
}
