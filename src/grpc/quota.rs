//! Resources that all connections share. Each connection keeps a part, however much the others use.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bounded resource. A part of it is reserved for each connection; the rest is shared.
#[derive(Debug)]
pub(super) struct Quota {
    /// For each connection.
    reserved: usize,
    shared: Arc<Semaphore>,
}

/// What one connection can use.
#[derive(Debug)]
pub(super) struct ConnectionQuota {
    reserved: Arc<Semaphore>,
    shared: Arc<Semaphore>,
}

/// An amount in use; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    reserved: OwnedSemaphorePermit,
    shared: OwnedSemaphorePermit,
}

impl Quota {
    /// A quota for this many connections. Three quarters are reserved: an attacker on all other
    /// connections leaves a client its part; a quarter is more than an honest one needs at once.
    pub(super) fn new(size: usize, connections: usize) -> Self {
        let size = size.min(Semaphore::MAX_PERMITS);
        let reserved = size / 4 * 3 / connections;
        Self {
            reserved,
            shared: Arc::new(Semaphore::new(size - reserved * connections)),
        }
    }

    /// The part of a new connection, which uses nothing yet.
    pub(super) fn connection(&self) -> ConnectionQuota {
        ConnectionQuota {
            reserved: Arc::new(Semaphore::new(self.reserved)),
            shared: self.shared.clone(),
        }
    }
}

impl ConnectionQuota {
    /// Returns `None` if less than this amount is left.
    pub(super) fn acquire(&self, amount: usize) -> Option<Permit> {
        let from_reserved = amount.min(self.reserved.available_permits());
        Some(Permit {
            reserved: acquire(&self.reserved, from_reserved)?,
            shared: acquire(&self.shared, amount - from_reserved)?,
        })
    }

    /// Adds this amount to a permit of this connection. Returns `false` if less is left.
    pub(super) fn grow(&self, permit: &mut Permit, amount: usize) -> bool {
        let Some(more) = self.acquire(amount) else {
            return false;
        };
        permit.reserved.merge(more.reserved);
        permit.shared.merge(more.shared);
        true
    }
}

fn acquire(semaphore: &Arc<Semaphore>, amount: usize) -> Option<OwnedSemaphorePermit> {
    let amount = u32::try_from(amount).ok()?;
    semaphore.clone().try_acquire_many_owned(amount).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much as the connection gets, one by one.
    fn all(quota: &ConnectionQuota) -> Vec<Permit> {
        std::iter::from_fn(|| quota.acquire(1)).collect()
    }

    #[test]
    fn a_small_quota_is_for_whoever_comes_first() {
        let quota = Quota::new(2, 256).connection();
        assert_eq!(all(&quota).len(), 2);
    }

    #[test]
    fn however_much_the_others_use_each_has_its_part() {
        let quota = Quota::new(1024, 256);
        let greedy: Vec<_> = (0..255).map(|_| quota.connection()).collect();
        let held: Vec<_> = greedy.iter().flat_map(all).collect();
        assert_eq!(held.len(), 1021);
        assert_eq!(all(&quota.connection()).len(), 3);
        drop(held);
        assert_eq!(quota.shared.available_permits(), 256);
        assert_eq!(all(&greedy[0]).len(), 256 + 3);
    }

    #[test]
    fn a_permit_stops_growing_where_nothing_is_left() {
        let quota = Quota::new(10, 1).connection();
        let mut permit = quota.acquire(4).expect("so much is left");
        assert!(!quota.grow(&mut permit, 7));
        assert!(quota.grow(&mut permit, 6));
        assert!(!quota.grow(&mut permit, 1));
        drop(permit);
        assert_eq!(all(&quota).len(), 10);
    }
}
