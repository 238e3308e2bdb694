//! Who may connect: a second door behind the socket's mode.

use std::time::Duration;

use tokio::net::UnixStream;

use crate::telemetry::LogThrottle;
use crate::telemetry::events;

/// Whoever may not connect can try as often as it likes, and must not fill a disk with that.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The users and groups that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedPeers {
    /// User ids.
    pub uids: Vec<u32>,
    /// Primary group ids.
    pub gids: Vec<u32>,
}

/// Who is at the other end, as the kernel saw it at `connect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Absent where the peer is in a pid namespace that we do not see into.
    pub pid: Option<u32>,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Tells of those that were refused.
#[derive(Debug)]
pub(super) struct Refusals(LogThrottle);

impl Peer {
    /// Nothing if the kernel does not say: nobody is admitted then.
    pub(super) fn of(stream: &UnixStream) -> Option<Self> {
        let peer = stream.peer_cred().ok()?;
        let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
        Some(Self {
            pid: pid.filter(|&pid| pid != 0),
            uid: peer.uid(),
            gid: peer.gid(),
        })
    }
}

impl AllowedPeers {
    /// Whether this one may connect.
    pub(super) fn admit(&self, peer: Peer) -> bool {
        self.uids.contains(&peer.uid) || self.gids.contains(&peer.gid)
    }
}

impl Default for Refusals {
    fn default() -> Self {
        Self(LogThrottle::new(LINE_EVERY))
    }
}

impl Refusals {
    /// A line now and then; in `suppressed`, how many were refused since the one before.
    pub(super) fn tell(&self, peer: Option<Peer>) {
        let Some(suppressed) = self.0.line() else {
            return;
        };
        events::PeerRejected {
            pid: peer.and_then(|peer| peer.pid),
            uid: peer.map(|peer| peer.uid),
            gid: peer.map(|peer| peer.gid),
            suppressed,
        }
        .emit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_users_and_groups_may_connect() {
        let allowed = AllowedPeers {
            uids: vec![0],
            gids: vec![500],
        };
        let admitted = |uid, gid| {
            let pid = Some(1);
            allowed.admit(Peer { pid, uid, gid })
        };
        assert!(admitted(0, 0));
        assert!(admitted(7, 500));
        assert!(!admitted(7, 7));
        assert!(!admitted(500, 0), "a group is no user");
    }
}
