//! The actors under the Supervisor.

use std::fmt;

/// An actor under the Supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Child {
    /// The login.
    Session,
    /// The keys.
    Keys,
    /// The socket.
    Grpc,
    /// The probes.
    Admin,
}

impl Child {
    /// In the order of their start.
    pub const ALL: [Self; 4] = [Self::Session, Self::Keys, Self::Grpc, Self::Admin];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Session => "VaultSession",
            Self::Keys => "KeyManager",
            Self::Grpc => "GrpcServer",
            Self::Admin => "AdminServer",
        }
    }
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
