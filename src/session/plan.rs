//! When to renew, when to log in anew, how long to wait after a failure: functions of numbers.
//!
//! `jitter` is a random number of [0, 1), drawn by the caller.

use std::time::Duration;

use crate::vault::Lease;

/// Early enough to repeat a failed renewal several times before the lease ends.
const RENEW_AT: f64 = 0.70;
/// Spreads the nodes of a cluster that logged in together.
const RENEW_SPREAD: f64 = 0.05;
/// A renewal that brings less than this part of the first lease means that max_ttl is near.
const SHRUNK: f64 = 0.90;
/// Keeps a nearly dead token from being renewed in a hot loop.
const SOONEST: Duration = Duration::from_millis(500);
/// The first wait after a failed login.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest: with it the first call works soon after Vault's return.
const RETRY_MOST: Duration = Duration::from_secs(10);
/// How long refused credentials are left alone where Vault counts refusals: its own window and its
/// lockout last 15 minutes each.
const REFUSED: Duration = Duration::from_secs(30 * 60);
/// The longest that a token lives on which was replaced: longer than the calls that use it yet.
const REVOKE_MOST: Duration = Duration::from_secs(10);
/// How often an unreachable or sealed Vault is asked for its health.
const HEALTH_EVERY: Duration = Duration::from_secs(1);

/// What the session does next, and in how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Prolong the token.
    Renew(Duration),
    /// Get another one while this one still lives.
    Login(Duration),
    /// Nothing: the token does not expire.
    Rest,
}

/// When to renew a lease of this length: at 65 to 75 percent of it.
pub(super) fn renew_in(ttl: Duration, jitter: f64) -> Duration {
    let part = RENEW_AT + RENEW_SPREAD * (2.0 * jitter - 1.0);
    ttl.mul_f64(part).max(SOONEST)
}

/// What follows a login.
pub(super) fn after_login(lease: Lease, jitter: f64) -> Next {
    match lease.ttl {
        None => Next::Rest,
        Some(ttl) if lease.renewable => Next::Renew(renew_in(ttl, jitter)),
        Some(ttl) => Next::Login(renew_in(ttl, jitter)),
    }
}

/// What follows a renewal that turned a lease first `granted` into `renewed`; `None` is Vault's
/// 204, which prolonged nothing.
pub(super) fn after_renewal(
    granted: Option<Duration>,
    renewed: Option<Lease>,
    jitter: f64,
) -> Next {
    let Some(lease) = renewed else {
        return Next::Login(Duration::ZERO);
    };
    let shrunk = match (granted, lease.ttl) {
        (Some(granted), Some(ttl)) => ttl < granted.mul_f64(SHRUNK),
        _ => false,
    };
    match after_login(lease, jitter) {
        Next::Renew(wait) if shrunk => Next::Login(wait),
        next => next,
    }
}

/// How long to wait after the `failures`-th login in a row that was refused or failed: full
/// jitter under a doubling limit, and at least what Vault asked for.
pub(super) fn retry_in(failures: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
    let limit = RETRY_FIRST
        .saturating_mul(1 << failures.min(10))
        .min(RETRY_MOST);
    let wait = RETRY_FIRST + limit.saturating_sub(RETRY_FIRST).mul_f64(jitter);
    wait.max(retry_after.unwrap_or_default())
}

/// How long to wait before credentials that Vault refused, and counts the refusals of, are tried
/// again with nothing changed: 15 to 45 minutes.
pub(super) fn refused_in(jitter: f64) -> Duration {
    REFUSED.mul_f64(0.5 + jitter)
}

/// How long a token that was replaced is left to the calls that are under way with it.
pub(super) fn revoke_in(remaining: Lease) -> Duration {
    remaining
        .ttl
        .map_or(REVOKE_MOST, |ttl| (ttl / 2).min(REVOKE_MOST))
}

/// How long to wait before an unreachable or sealed Vault is asked again.
pub(super) fn health_in(jitter: f64) -> Duration {
    HEALTH_EVERY.mul_f64(0.8 + 0.4 * jitter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn lease(ttl: u64, renewable: bool) -> Lease {
        Lease {
            ttl: (ttl > 0).then(|| Duration::from_secs(ttl)),
            renewable,
            num_uses: 0,
        }
    }

    #[test]
    fn a_renewable_lease_is_renewed_at_about_seventy_percent() {
        assert_eq!(renew_in(HOUR, 0.5), HOUR.mul_f64(0.70));
        assert_eq!(
            after_login(lease(3600, true), 0.5),
            Next::Renew(HOUR.mul_f64(0.70))
        );
    }

    #[test]
    fn what_cannot_be_renewed_is_replaced_before_it_ends() {
        assert_eq!(
            after_login(lease(3600, false), 0.5),
            Next::Login(HOUR.mul_f64(0.70))
        );
        assert_eq!(
            after_renewal(Some(HOUR), None, 0.5),
            Next::Login(Duration::ZERO)
        );
        let shrunk = after_renewal(Some(HOUR), Some(lease(600, true)), 0.5);
        assert_eq!(shrunk, Next::Login(Duration::from_secs(420)));
    }

    #[test]
    fn a_token_without_an_end_needs_nothing() {
        assert_eq!(after_login(lease(0, false), 0.5), Next::Rest);
    }

    #[test]
    fn a_full_renewal_is_followed_by_the_next() {
        let next = after_renewal(Some(HOUR), Some(lease(3600, true)), 0.5);
        assert_eq!(next, Next::Renew(HOUR.mul_f64(0.70)));
    }

    proptest! {
        #[test]
        fn a_lease_is_never_renewed_too_late(seconds in 2_u64..10_000_000, jitter in 0.0..1.0) {
            let ttl = Duration::from_secs(seconds);
            let wait = renew_in(ttl, jitter);
            prop_assert!(wait <= ttl.mul_f64(0.76) && wait >= ttl.mul_f64(0.24));
        }

        #[test]
        fn refused_credentials_never_reach_five_in_fifteen_minutes(jitter in 0.0..1.0) {
            prop_assert!(refused_in(jitter) >= Duration::from_secs(15 * 60));
        }

        #[test]
        fn waits_after_failures_stay_within_bounds(failures in 0_u32..1000, jitter in 0.0..1.0) {
            let wait = retry_in(failures, None, jitter);
            prop_assert!(wait >= RETRY_FIRST && wait <= RETRY_MOST);
            let asked = Duration::from_secs(30);
            prop_assert!(retry_in(failures, Some(asked), jitter) >= asked);
        }
    }
}
