//! Why the SPIFFE agent gave no JWT-SVID, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

use tonic::{Code, Status};

use crate::diagnosis::Diagnosis;

/// How many offered identities an error names: enough to see the mistake; the text goes to
/// kube-apiserver.
const MAX_LISTED: usize = 5;

/// Why there is no JWT-SVID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// Nothing listens there, or not for us.
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// The system's message.
        cause: String,
    },
    /// The agent did not answer in time.
    TimedOut(PathBuf),
    /// The agent does not know this process.
    NoIdentity {
        /// The socket.
        socket: PathBuf,
        /// The agent's message.
        message: String,
        /// The user of this process.
        uid: u32,
    },
    /// The agent refused for another reason, or failed.
    Refused {
        /// The socket.
        socket: PathBuf,
        /// The gRPC code.
        code: Code,
        /// The agent's message.
        message: String,
    },
    /// The agent offers identities, but not the wanted one.
    NotOffered {
        /// What the configuration asks for.
        wanted: String,
        /// The offered identities.
        offered: Vec<String>,
    },
}

impl FetchError {
    pub(super) fn refused(socket: &Path, status: &Status) -> Self {
        let socket = socket.to_owned();
        let message = status.message().to_owned();
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

    /// Whether the agent may answer a moment later with nothing changed by an operator.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut(_) => true,
            Self::NoIdentity { .. } | Self::NotOffered { .. } => false,
            Self::Refused { code, .. } => *code != Code::InvalidArgument,
        }
    }

    /// The cause, and the remedy where there is one.
    #[must_use]
    pub fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Unreachable { socket, cause } => {
                let socket = socket.display();
                Diagnosis::new(format!(
                    "auth.spiffe_socket: cannot connect to {socket}: {cause}"
                ))
                .with_remedy("start the SPIFFE agent, or correct the path")
            }
            Self::TimedOut(socket) => Diagnosis::new(format!(
                "auth.spiffe_socket: no answer in time from {}",
                socket.display()
            )),
            Self::NoIdentity {
                socket,
                message,
                uid,
            } => Diagnosis::new(format!(
                "the SPIFFE agent at {} has no identity for this process ({message})",
                socket.display()
            ))
            .with_remedy(format!(
                "register an entry whose selectors match it, such as unix:uid:{uid}"
            )),
            Self::Refused {
                socket,
                code,
                message,
            } => Diagnosis::new(format!(
                "the SPIFFE agent at {} answered {code}: {message}",
                socket.display()
            )),
            Self::NotOffered { wanted, offered } => Diagnosis::new(format!(
                "the SPIFFE agent offers {}, but {wanted} is wanted",
                listed(offered)
            ))
            .with_remedy("correct the key, or the entry of this process"),
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnosis().fmt(f)
    }
}

impl std::error::Error for FetchError {}

fn listed(ids: &[String]) -> String {
    match ids {
        [] => "no identity".to_owned(),
        ids => ids[..ids.len().min(MAX_LISTED)].join(", "),
    }
}
