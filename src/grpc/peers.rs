//! Which peers may connect: a second check behind the socket's mode.

use std::time::Duration;

use tokio::net::UnixStream;

use crate::telemetry::SharedLogThrottle;
use crate::telemetry::events;

/// A rejected peer can try as often as it likes and must not fill the disk with log lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The users and groups that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedPeers {
    /// User ids.
    pub uids: Vec<u32>,
    /// Primary group ids.
    pub gids: Vec<u32>,
}

/// The process at the other end, as the kernel saw it at `connect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Absent if the peer is in a pid namespace that is not visible here.
    pub pid: Option<u32>,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Logs rejected peers.
#[derive(Debug)]
pub(super) struct Refusals(SharedLogThrottle);

impl Peer {
    /// Returns `None` if the kernel does not say; such a peer is rejected.
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
    /// Returns whether this peer may connect.
    pub(super) fn admit(&self, peer: Peer) -> bool {
        self.uids.contains(&peer.uid) || self.gids.contains(&peer.gid)
    }
}

impl Default for Refusals {
    fn default() -> Self {
        Self(SharedLogThrottle::new(LINE_INTERVAL))
    }
}

impl Refusals {
    /// Logs a line now and then; `suppressed` counts the rejections since the previous one.
    pub(super) fn report(&self, peer: Option<Peer>) {
        let Some(suppressed) = self.0.allow() else {
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
