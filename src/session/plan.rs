//! When to renew, when to log in again, how long to wait after a failure: functions of numbers.
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
/// Up to which the first wait after a failed login is drawn; doubled by each failure.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Up to which the longest is: whatever held logins up, ten seconds after its end one has worked.
const RETRY_MOST: Duration = Duration::from_secs(9);
/// The shortest wait that is ever drawn: keeps luck from making a hot loop.
const RETRY_LEAST: Duration = Duration::from_millis(50);
/// The longest that Vault can make us wait; more would be an accident of something between.
const ASKED_MOST: Duration = Duration::from_secs(300);
/// How long refused credentials are left alone where Vault counts refusals: its own window and its
/// lockout last 15 minutes each.
const REFUSED: Duration = Duration::from_secs(30 * 60);
/// How old a token has to be whose denial leads to another login; doubled by each that followed.
const DENIED_FIRST: Duration = Duration::from_secs(15);
/// The most that it has to be.
const DENIED_MOST: Duration = Duration::from_secs(30 * 60);
/// The longest that a token lives on which was replaced: longer than the calls that use it yet.
const REVOKE_MOST: Duration = Duration::from_secs(10);
/// How often at the least an unreachable or sealed Vault is asked for its health. With the spread
/// of the logins it makes two seconds, after which the first call works.
const HEALTH_EVERY: Duration = Duration::from_secs(1);
/// Over how long the logins of a fleet are spread whose Vault came back.
const RETURN_WITHIN: Duration = Duration::from_millis(900);

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

/// What follows a renewal that turned a lease first `granted` into this one.
pub(super) fn after_renewal(granted: Option<Duration>, renewed: Lease, jitter: f64) -> Next {
    let shrunk = match (granted, renewed.ttl) {
        (Some(granted), Some(ttl)) => ttl < granted.mul_f64(SHRUNK),
        // Vault rounds down: what is left of it is less than a second.
        (Some(_), None) => return Next::Login(Duration::ZERO),
        (None, _) => false,
    };
    match after_login(renewed, jitter) {
        Next::Renew(wait) if shrunk => Next::Login(wait),
        next => next,
    }
}

/// How long to wait after the `failures`-th step in a row that failed: full jitter under a doubling
/// limit, and at least what Vault asked for.
pub(super) fn retry_in(failures: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
    let doubled = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10));
    let wait = doubled.min(RETRY_MOST).mul_f64(jitter).max(RETRY_LEAST);
    wait.max(retry_after.unwrap_or_default().min(ASKED_MOST))
}

/// How long to wait before credentials that Vault refused, and counts the refusals of, are tried
/// again with nothing changed: 15 to 45 minutes.
pub(super) fn refused_in(jitter: f64) -> Duration {
    REFUSED.mul_f64(0.5 + jitter)
}

/// How old a token has to be before a denial leads to another login, after so many of those.
pub(super) fn denied_in(denials: u32) -> Duration {
    DENIED_FIRST
        .saturating_mul(1 << denials.min(10))
        .min(DENIED_MOST)
}

/// The number of such logins in a row, with one more after a token of this age.
pub(super) fn denials(before: u32, age: Duration) -> u32 {
    match age > DENIED_MOST * 2 {
        true => 1,
        false => before.saturating_add(1),
    }
}

/// How long a token that was replaced is left to the calls that are under way with it.
pub(super) fn revoke_in(remaining: Lease) -> Duration {
    remaining
        .ttl
        .map_or(REVOKE_MOST, |ttl| (ttl / 2).min(REVOKE_MOST))
}

/// How long to wait before an unreachable or sealed Vault is asked again.
pub(super) fn health_in(jitter: f64) -> Duration {
    HEALTH_EVERY.mul_f64(0.7 + 0.3 * jitter)
}

/// How long a login waits once Vault can be logged into: not all who saw it `away` come at once.
pub(super) fn return_in(jitter: f64, away: bool) -> Duration {
    match away {
        true => RETURN_WITHIN.mul_f64(jitter),
        false => Duration::ZERO,
    }
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
        let shrunk = after_renewal(Some(HOUR), lease(600, true), 0.5);
        assert_eq!(shrunk, Next::Login(Duration::from_secs(420)));
    }

    #[test]
    fn a_token_without_an_end_needs_nothing() {
        assert_eq!(after_login(lease(0, false), 0.5), Next::Rest);
    }

    #[test]
    fn a_denial_long_after_the_last_is_a_new_matter() {
        assert_eq!(denials(3, Duration::from_secs(240)), 4);
        assert_eq!(denials(3, 2 * HOUR), 1);
    }

    #[test]
    fn a_full_renewal_is_followed_by_the_next() {
        let next = after_renewal(Some(HOUR), lease(3600, true), 0.5);
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
            prop_assert!(wait >= RETRY_LEAST && wait <= RETRY_MOST);
            let asked = Duration::from_secs(30);
            prop_assert!(retry_in(failures, Some(asked), jitter) >= asked);
            let absurd = Duration::from_secs(86_400);
            prop_assert_eq!(retry_in(failures, Some(absurd), jitter), ASKED_MOST);
        }

        #[test]
        fn denials_lead_to_fewer_and_fewer_logins(denials in 0_u32..1000) {
            let wait = denied_in(denials);
            prop_assert!(wait >= DENIED_FIRST && wait <= DENIED_MOST);
            prop_assert!(wait <= denied_in(denials + 1));
        }

        #[test]
        fn a_vault_that_came_back_is_logged_into_within_two_seconds(a in 0.0..1.0, b in 0.0..1.0) {
            prop_assert!(health_in(a) + return_in(b, true) < Duration::from_secs(2));
        }
    }
}
