//! The limit of connections, and which one is closed for a new one when it is reached.
//!
//! One process with a leak, or one malicious user, must not keep kube-apiserver out. So at the limit a
//! new peer replaces a connection of whoever has most. Among equals, and against its own process,
//! nobody gets one. Pure except for the time of use; does not know about HTTP.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;

use super::peers::Peer;

/// Identifies an admitted connection.
pub(super) type ConnectionId = u64;

/// The connections of the process; `T` is kept for each.
#[derive(Debug)]
pub(super) struct ConnectionLimiter<T> {
    limit: usize,
    next: ConnectionId,
    held: HashMap<ConnectionId, (Peer, T)>,
}

/// An admitted connection.
#[derive(Debug)]
pub(super) struct Admitted<T> {
    pub(super) id: ConnectionId,
    /// The connection to close for it.
    pub(super) evicted: Option<(Peer, T)>,
}

/// How idle a connection is, for comparison: the idlest is evicted first.
pub(super) trait Idleness {
    /// The measure.
    type Measure: Ord;
    /// As of now.
    fn idleness(&self) -> Self::Measure;
}

impl<T: Idleness> ConnectionLimiter<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            next: 0,
            held: HashMap::new(),
        }
    }

    /// Admits a connection of this peer. Returns `None` at the limit if none can be evicted for it.
    pub(super) fn acquire(&mut self, peer: Peer, entry: T) -> Option<Admitted<T>> {
        let evicted = if self.held.len() < self.limit {
            None
        } else {
            Some(self.eviction_candidate(peer)?)
        };
        let id = self.next;
        self.next += 1;
        let evicted = evicted.and_then(|id| self.held.remove(&id));
        self.held.insert(id, (peer, entry));
        Some(Admitted { id, evicted })
    }

    /// Removes every connection whose peer fulfils this, and returns what was kept for each.
    pub(super) fn remove_where(&mut self, matches: impl Fn(Peer, &T) -> bool) -> Vec<T> {
        let removed = self
            .held
            .extract_if(|_, (peer, entry)| matches(*peer, entry));
        removed.map(|(_, (_, entry))| entry).collect()
    }

    /// Records that the connection has ended; it may have been evicted before.
    pub(super) fn release(&mut self, id: ConnectionId) {
        self.held.remove(&id);
    }

    /// The idlest connection of the process with most connections, of the user with most. Returns
    /// `None` if the newcomer's user, or its process, would then not have fewer.
    fn eviction_candidate(&self, newcomer: Peer) -> Option<ConnectionId> {
        let users = self.count(|peer| Some(peer.uid));
        let (&user, &most) = users.iter().max_by_key(|&(_, count)| count)?;
        let of_user = |peer: &Peer| (peer.uid == user).then_some(peer.pid);
        let processes = self.count(of_user);
        let (&process, &most_of_process) = processes.iter().max_by_key(|&(_, count)| count)?;
        let has_fewer = if newcomer.uid == user {
            // Peers without a pid may be any number of processes.
            let own = processes.get(&newcomer.pid).copied().unwrap_or_default();
            process.is_some() && own + 1 < most_of_process
        } else {
            users.get(&newcomer.uid).copied().unwrap_or_default() + 1 < most
        };
        let theirs = self
            .held
            .iter()
            .filter(|(_, (peer, _))| of_user(peer) == Some(process));
        let idlest = theirs.max_by_key(|(_, (_, entry))| entry.idleness());
        has_fewer.then(|| idlest.map(|(&id, _)| id)).flatten()
    }

    /// The peers and how many connections each has, the most first.
    pub(super) fn peers(&self) -> Vec<(Peer, usize)> {
        let mut peers: Vec<_> = self.count(|&peer| Some(peer)).into_iter().collect();
        peers.sort_unstable_by_key(|&(peer, count)| (Reverse(count), peer.uid, peer.pid));
        peers
    }

    fn count<K: Eq + Hash>(&self, key: impl Fn(&Peer) -> Option<K>) -> HashMap<K, usize> {
        let mut counts = HashMap::new();
        for key in self.held.values().filter_map(|(peer, _)| key(peer)) {
            *counts.entry(key).or_default() += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Idleness for u32 {
        type Measure = u32;

        fn idleness(&self) -> u32 {
            *self
        }
    }

    fn peer(uid: u32, pid: Option<u32>) -> Peer {
        Peer { pid, uid, gid: uid }
    }

    /// At the limit, with this many connections of each process, each idler than the one before.
    fn full(crowd: &[(u32, Option<u32>, u32)]) -> ConnectionLimiter<u32> {
        let limit = crowd.iter().map(|(_, _, count)| *count as usize).sum();
        let mut limiter = ConnectionLimiter::new(limit);
        for &(uid, pid, count) in crowd {
            for idle in 0..count {
                limiter
                    .acquire(peer(uid, pid), idle)
                    .expect("below the limit");
            }
        }
        limiter
    }

    fn evicted(limiter: &mut ConnectionLimiter<u32>, newcomer: Peer) -> Option<(Peer, u32)> {
        limiter
            .acquire(newcomer, 0)
            .and_then(|admitted| admitted.evicted)
    }

    #[test]
    fn a_released_connection_can_be_replaced() {
        let mut limiter = full(&[(0, Some(1), 4)]);
        assert!(limiter.acquire(peer(0, Some(1)), 0).is_none());
        limiter.release(2);
        assert!(limiter.acquire(peer(0, Some(1)), 0).is_some());
        assert!(limiter.acquire(peer(0, Some(1)), 0).is_none());
    }

    #[test]
    fn peers_that_are_no_longer_allowed_are_removed() {
        let mut limiter = full(&[(0, Some(1), 2), (500, Some(2), 3)]);
        assert_eq!(limiter.remove_where(|peer, _| peer.uid == 500).len(), 3);
        assert_eq!(limiter.peers(), [(peer(0, Some(1)), 2)]);
        assert!(limiter.acquire(peer(500, Some(2)), 0).is_some());
    }

    #[test]
    fn a_process_with_few_gets_the_idlest_of_the_process_with_most() {
        let mut limiter = full(&[(0, Some(1), 2), (0, Some(2), 9), (0, Some(3), 3)]);
        let gone = evicted(&mut limiter, peer(0, Some(4)));
        assert_eq!(gone, Some((peer(0, Some(2)), 8)));
        let gone = evicted(&mut limiter, peer(0, Some(1)));
        assert_eq!(gone, Some((peer(0, Some(2)), 7)));
        assert_eq!(evicted(&mut limiter, peer(0, Some(2))), None);
    }

    #[test]
    fn a_user_with_few_gets_one_of_the_user_with_most_however_many_processes_that_has() {
        let crowd: Vec<_> = (10..20).map(|pid| (500, Some(pid), 1)).collect();
        let mut limiter = full(&crowd);
        let gone = evicted(&mut limiter, peer(0, Some(1)));
        assert_eq!(gone.map(|(peer, _)| peer.uid), Some(500));
        assert_eq!(evicted(&mut limiter, peer(500, Some(30))), None);
    }

    #[test]
    fn processes_without_a_pid_do_not_evict_each_other() {
        let mut limiter = full(&[(0, None, 8), (500, Some(7), 2)]);
        assert_eq!(evicted(&mut limiter, peer(0, None)), None);
        assert_eq!(evicted(&mut limiter, peer(0, Some(3))), None);
    }

    #[test]
    fn among_equals_open_connections_stay() {
        let mut limiter = full(&[(0, Some(1), 1), (0, Some(2), 1)]);
        assert_eq!(evicted(&mut limiter, peer(0, Some(3))), None);
        let mut limiter = full(&[(0, Some(1), 2), (500, Some(2), 2)]);
        assert_eq!(evicted(&mut limiter, peer(0, Some(1))), None);
    }
}
