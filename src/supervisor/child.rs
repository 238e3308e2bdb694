//! The actors under the Supervisor.

use std::fmt;
use std::time::Duration;

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

    /// How long it may take to stop once it is asked to.
    pub(super) fn stop_limit(self) -> Duration {
        match self {
            // Longer than the wait for a secret_id that is being unwrapped, and for a revocation.
            Self::Session => Duration::from_secs(7),
            Self::Keys | Self::Grpc | Self::Admin => Duration::from_secs(1),
        }
    }

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
