//! The lease of the token in use: the state machine holds it, and the published session is made of
//! it.

use std::time::Duration;

use tokio::time::Instant;

use crate::vault::Lease;

/// The lease of the token in use, and since when it is in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActiveToken {
    /// The lease's length when the token was granted; renewals may bring less.
    pub(super) granted: Option<Duration>,
    /// The lease as last granted or renewed.
    pub(super) lease: Lease,
    /// When the token was granted.
    pub(super) obtained: Instant,
    /// When it expires unless renewed.
    pub(super) expires: Option<Instant>,
}

impl ActiveToken {
    /// A token that was requested at `began` and granted now. The lease counts from the request: the
    /// response may have taken long.
    pub(super) fn new(lease: Lease, began: Instant, now: Instant) -> Self {
        Self::restored(lease, now, lease.ttl.map(|ttl| began + ttl))
    }

    /// The token of an earlier actor.
    pub(super) fn restored(lease: Lease, obtained: Instant, expires: Option<Instant>) -> Self {
        Self {
            granted: lease.ttl,
            lease,
            obtained,
            expires,
        }
    }

    /// The same token after a renewal that was requested at `began`.
    pub(super) fn renewed(self, lease: Lease, began: Instant) -> Self {
        Self {
            lease,
            expires: lease.ttl.map(|ttl| began + ttl),
            ..self
        }
    }

    /// The lease with the time that is left of it now.
    pub(super) fn remaining(&self, now: Instant) -> Lease {
        Lease {
            ttl: self.expires.map(|end| end.saturating_duration_since(now)),
            ..self.lease
        }
    }

    /// When this part of the lease has passed; `None` for a token that does not expire.
    pub(super) fn point(&self, part: f64) -> Option<Instant> {
        let left = self.lease.ttl?.mul_f64(1.0 - part);
        self.expires?.checked_sub(left)
    }
}
