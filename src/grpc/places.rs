//! The places for connections: who holds them, and who has to go when there is none left.
//!
//! One process with a leak, or one user who means harm, must not keep kube-apiserver out. So where
//! all places are taken, a newcomer gets one of whoever holds most of them. Among equals, and
//! against itself, nobody gets one. Pure but for the time of use; knows nothing of HTTP.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;

use super::peers::Peer;

/// Names one that was given.
pub(super) type PlaceId = u64;

/// The places of the process; `T` is what is kept for each.
#[derive(Debug)]
pub(super) struct Places<T> {
    limit: usize,
    next: PlaceId,
    held: HashMap<PlaceId, (Peer, T)>,
}

/// A place for a newcomer.
#[derive(Debug)]
pub(super) struct Granted<T> {
    pub(super) id: PlaceId,
    /// Who has to go for it.
    pub(super) evicted: Option<(Peer, T)>,
}

/// How long a connection has been of no use, for comparison: the one with the most goes first.
pub(super) trait Idle {
    /// What this is measured in.
    type Measure: Ord;
    /// Now.
    fn idle(&self) -> Self::Measure;
}

impl<T: Idle> Places<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            next: 0,
            held: HashMap::new(),
        }
    }

    /// A place for this peer; nothing where all are taken and nobody has to go for it.
    pub(super) fn grant(&mut self, peer: Peer, kept: T) -> Option<Granted<T>> {
        let evicted = match self.held.len() < self.limit {
            true => None,
            false => Some(self.greediest(peer)?),
        };
        let id = self.next;
        self.next += 1;
        let evicted = evicted.and_then(|id| self.held.remove(&id));
        self.held.insert(id, (peer, kept));
        Some(Granted { id, evicted })
    }

    /// The connection has ended; it may have been evicted before.
    pub(super) fn give_back(&mut self, id: PlaceId) {
        self.held.remove(&id);
    }

    /// Of the user with the most, the process with the most: its idlest connection. Nothing if the
    /// newcomer's user, or its process, would have no fewer after that.
    fn greediest(&self, newcomer: Peer) -> Option<PlaceId> {
        let users = self.count(|peer| Some(peer.uid));
        let (&user, &most) = users.iter().max_by_key(|&(_, count)| count)?;
        let of_user = |peer: &Peer| (peer.uid == user).then_some(peer.pid);
        let processes = self.count(of_user);
        let (&process, &most_of_process) = processes.iter().max_by_key(|&(_, count)| count)?;
        let has_fewer = match newcomer.uid == user {
            false => users.get(&newcomer.uid).copied().unwrap_or_default() + 1 < most,
            // Those without a pid may be any number of processes.
            true => {
                let own = processes.get(&newcomer.pid).copied().unwrap_or_default();
                process.is_some() && own + 1 < most_of_process
            }
        };
        let theirs = self
            .held
            .iter()
            .filter(|(_, (peer, _))| of_user(peer) == Some(process));
        let idlest = theirs.max_by_key(|(_, (_, kept))| kept.idle());
        has_fewer.then(|| idlest.map(|(&id, _)| id)).flatten()
    }

    /// Who holds any, and how many, the most first.
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

    impl Idle for u32 {
        type Measure = u32;

        fn idle(&self) -> u32 {
            *self
        }
    }

    fn peer(uid: u32, pid: Option<u32>) -> Peer {
        Peer { pid, uid, gid: uid }
    }

    /// Full: of these users and processes, so many connections each, each idler than the last.
    fn full(crowd: &[(u32, Option<u32>, u32)]) -> Places<u32> {
        let limit = crowd.iter().map(|(_, _, count)| *count as usize).sum();
        let mut places = Places::new(limit);
        for &(uid, pid, count) in crowd {
            for idle in 0..count {
                places.grant(peer(uid, pid), idle).expect("a free place");
            }
        }
        places
    }

    fn evicted(places: &mut Places<u32>, newcomer: Peer) -> Option<(Peer, u32)> {
        places
            .grant(newcomer, 0)
            .and_then(|granted| granted.evicted)
    }

    #[test]
    fn one_that_is_given_back_is_free() {
        let mut places = full(&[(0, Some(1), 4)]);
        assert!(places.grant(peer(0, Some(1)), 0).is_none());
        places.give_back(2);
        assert!(places.grant(peer(0, Some(1)), 0).is_some());
        assert!(places.grant(peer(0, Some(1)), 0).is_none());
    }

    #[test]
    fn a_process_with_few_gets_the_idlest_of_the_process_with_most() {
        let mut places = full(&[(0, Some(1), 2), (0, Some(2), 9), (0, Some(3), 3)]);
        let gone = evicted(&mut places, peer(0, Some(4)));
        assert_eq!(gone, Some((peer(0, Some(2)), 8)));
        let gone = evicted(&mut places, peer(0, Some(1)));
        assert_eq!(gone, Some((peer(0, Some(2)), 7)));
        assert_eq!(evicted(&mut places, peer(0, Some(2))), None);
    }

    #[test]
    fn a_user_with_few_gets_one_of_the_user_with_most_however_many_processes_that_has() {
        let crowd: Vec<_> = (10..20).map(|pid| (500, Some(pid), 1)).collect();
        let mut places = full(&crowd);
        let gone = evicted(&mut places, peer(0, Some(1)));
        assert_eq!(gone.map(|(peer, _)| peer.uid), Some(500));
        assert_eq!(evicted(&mut places, peer(500, Some(30))), None);
    }

    #[test]
    fn processes_that_cannot_be_told_apart_do_not_evict_each_other() {
        let mut places = full(&[(0, None, 8), (500, Some(7), 2)]);
        assert_eq!(evicted(&mut places, peer(0, None)), None);
        assert_eq!(evicted(&mut places, peer(0, Some(3))), None);
    }

    #[test]
    fn among_equals_those_that_live_are_not_touched() {
        let mut places = full(&[(0, Some(1), 1), (0, Some(2), 1)]);
        assert_eq!(evicted(&mut places, peer(0, Some(3))), None);
        let mut places = full(&[(0, Some(1), 2), (500, Some(2), 2)]);
        assert_eq!(evicted(&mut places, peer(0, Some(1))), None);
    }
}
