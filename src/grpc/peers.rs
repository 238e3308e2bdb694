//! Who may connect: a second door behind the socket's mode.

use std::fmt;

use tokio::net::UnixStream;

/// The users and groups that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedPeers {
    /// User ids.
    pub uids: Vec<u32>,
    /// Primary group ids.
    pub gids: Vec<u32>,
}

/// A peer that may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stranger {
    uid: Option<u32>,
    gid: Option<u32>,
}

impl AllowedPeers {
    /// Looks at who is at the other end, as the kernel saw it at `connect`.
    pub(super) fn check(&self, stream: &UnixStream) -> Result<(), Stranger> {
        let Ok(peer) = stream.peer_cred() else {
            return Err(Stranger {
                uid: None,
                gid: None,
            });
        };
        self.admit(peer.uid(), peer.gid())
    }

    fn admit(&self, uid: u32, gid: u32) -> Result<(), Stranger> {
        if self.uids.contains(&uid) || self.gids.contains(&gid) {
            return Ok(());
        }
        Err(Stranger {
            uid: Some(uid),
            gid: Some(gid),
        })
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.uid, self.gid) {
            (Some(uid), Some(gid)) => write!(f, "uid {uid}, gid {gid}"),
            _ => f.write_str("an unknown peer"),
        }
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
        assert!(allowed.admit(0, 0).is_ok());
        assert!(allowed.admit(7, 500).is_ok());
        let stranger = allowed.admit(7, 7).expect_err("refused");
        assert_eq!(stranger.to_string(), "uid 7, gid 7");
    }
}
