//! What all connections share, so that however much some take, something is left for each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A bounded good, of which each connection has a part to itself; what is beyond that goes to
/// whoever comes first.
#[derive(Debug)]
pub(super) struct Pool {
    /// What each connection has to itself.
    reserved: usize,
    /// What is free for all.
    free: AtomicUsize,
}

/// What one connection has of it.
#[derive(Debug)]
pub(super) struct Share {
    pool: Arc<Pool>,
    own: Arc<Mutex<usize>>,
}

/// So much was taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Taken {
    pool: Arc<Pool>,
    own: Arc<Mutex<usize>>,
    amount: usize,
}

impl Pool {
    /// So much for so many connections. Three quarters are reserved: an attacker on all the other
    /// connections leaves a client its part; a quarter is more than an honest one needs at once.
    pub(super) fn new(size: usize, connections: usize) -> Self {
        let reserved = size / 4 * 3 / connections;
        Self {
            reserved,
            free: AtomicUsize::new(size - reserved * connections),
        }
    }

    /// How much of what a connection has is not from its own part.
    fn beyond(&self, own: usize) -> usize {
        own.saturating_sub(self.reserved)
    }

    fn take(&self, amount: usize) -> bool {
        let shrink = |free: usize| free.checked_sub(amount);
        self.free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, shrink)
            .is_ok()
    }
}

impl Share {
    /// The share of a new connection, which has nothing yet.
    pub(super) fn of(pool: Arc<Pool>) -> Self {
        let own = Arc::default();
        Self { pool, own }
    }

    /// Takes so much, if there is so much.
    pub(super) fn take(&self, amount: usize) -> Option<Taken> {
        let mut taken = Taken {
            pool: self.pool.clone(),
            own: self.own.clone(),
            amount: 0,
        };
        taken.more(amount).then_some(taken)
    }
}

impl Taken {
    /// Takes so much in addition; whether there was so much.
    pub(super) fn more(&mut self, amount: usize) -> bool {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let after = own.saturating_add(amount);
        let needed = self.pool.beyond(after) - self.pool.beyond(*own);
        if !self.pool.take(needed) {
            return false;
        }
        *own = after;
        self.amount += amount;
        true
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let after = *own - self.amount;
        let back = self.pool.beyond(*own) - self.pool.beyond(after);
        self.pool.free.fetch_add(back, Ordering::Relaxed);
        *own = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(size: usize, connections: usize) -> Arc<Pool> {
        Arc::new(Pool::new(size, connections))
    }

    /// As much as it gets, one by one.
    fn all(share: &Share) -> Vec<Taken> {
        std::iter::from_fn(|| share.take(1)).collect()
    }

    #[test]
    fn a_small_pool_is_for_whoever_comes_first() {
        let share = Share::of(pool(2, 256));
        assert_eq!(all(&share).len(), 2);
    }

    #[test]
    fn however_much_the_others_take_each_has_its_part() {
        let pool = pool(1024, 256);
        let greedy: Vec<_> = (0..255).map(|_| Share::of(pool.clone())).collect();
        let held: Vec<_> = greedy.iter().flat_map(all).collect();
        assert_eq!(held.len(), 1021);
        assert_eq!(all(&Share::of(pool.clone())).len(), 3);
        drop(held);
        assert_eq!(pool.free.load(Ordering::Relaxed), 256);
        assert_eq!(all(&greedy[0]).len(), 256 + 3);
    }

    #[test]
    fn one_that_grows_stops_where_there_is_no_more() {
        let share = Share::of(pool(10, 1));
        let mut taken = share.take(4).expect("there is so much");
        assert!(!taken.more(7));
        assert!(taken.more(6));
        assert!(!taken.more(1));
        drop(taken);
        assert_eq!(all(&share).len(), 10);
    }
}
