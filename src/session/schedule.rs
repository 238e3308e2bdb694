//! When to renew, when to log in again, how long to wait after a failure: functions of numbers.
//!
//! `jitter` is a random number in [0, 1), drawn by the caller.

use std::time::Duration;

use crate::vault::Lease;

/// How long a login or a renewal may take. Longer than a call's deadline: TokenReview is slow.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a health check may take. A slower Vault cannot serve kube-apiserver within its 3 s.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// The part of the lease after which it is renewed: early enough to repeat a failed renewal several
/// times, and to log in before the lease ends.
const RENEW_AT: f64 = 0.70;
/// Spreads the renewals of a cluster's nodes that logged in together.
const RENEW_JITTER: f64 = 0.05;
/// The part of the lease after which a login is planned beside the renewals that fail: most causes
/// have passed until then, and a login costs a use of its credentials.
pub(super) const FALLBACK_LOGIN: f64 = 0.80;
/// The part of the lease after which a failed renewal is not repeated.
pub(super) const LAST_RENEWAL: f64 = 0.90;
/// The part of a shrinking lease after which it is renewed once more if no login has succeeded.
pub(super) const LAST_RESORT_RENEWAL: f64 = 0.85;
/// A renewal that brings less than this part of the first lease means that max_ttl is near.
const SHRINK_THRESHOLD: f64 = 0.90;
/// Keeps an expiring token from being renewed in a hot loop.
const MIN_RENEWAL_DELAY: Duration = Duration::from_millis(500);
/// The upper bound of the first retry delay; each failure doubles it.
const MIN_BACKOFF_LIMIT: Duration = Duration::from_millis(500);
/// The upper bound of every retry delay: ten seconds after the cause has gone, a login has worked.
const MAX_BACKOFF_LIMIT: Duration = Duration::from_secs(9);
/// The lower bound of every retry delay: keeps full jitter from causing a hot loop.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(50);
/// The longest `Retry-After` that is honoured; a longer one is an error of some proxy.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// The average pause of logins after rejected credentials where Vault counts rejections: Vault's
/// counting window and its lockout last 15 minutes each.
const LOCKOUT_PAUSE: Duration = Duration::from_secs(30 * 60);
/// The least age of a token whose denial causes another login; each such login doubles it.
const MIN_DENIAL_INTERVAL: Duration = Duration::from_secs(15);
/// The upper bound of that age.
const MAX_DENIAL_INTERVAL: Duration = Duration::from_secs(30 * 60);
/// A token that Vault rejects at a lower age died young: its login counts as a failed one. Longer
/// than the longest retry delay, so that no more than about one login a minute is not paced.
const SHORT_LIFE: Duration = Duration::from_secs(60);
/// How long a replaced token stays valid: longer than the calls that still use it.
const MAX_REVOKE_DELAY: Duration = Duration::from_secs(10);
/// The longest interval between health checks of an unavailable Vault. Together with the spread of
/// the logins it stays below two seconds, after which the first call works.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// Over how long the logins of a fleet are spread once Vault is available again.
const LOGIN_SPREAD: Duration = Duration::from_millis(900);

/// What the session does next, and after which delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextAction {
    /// Renew the token.
    Renew(Duration),
    /// Get another token while this one is still valid.
    Login(Duration),
    /// Nothing: the token does not expire.
    None,
}

/// When to renew a lease of this length: at 65 to 75 percent of it.
pub(super) fn renewal_delay(ttl: Duration, jitter: f64) -> Duration {
    let part = RENEW_AT + RENEW_JITTER * (2.0 * jitter - 1.0);
    ttl.mul_f64(part).max(MIN_RENEWAL_DELAY)
}

/// What follows a login.
pub(super) fn after_login(lease: Lease, jitter: f64) -> NextAction {
    match lease.ttl {
        None => NextAction::None,
        Some(ttl) if lease.renewable => NextAction::Renew(renewal_delay(ttl, jitter)),
        Some(ttl) => NextAction::Login(renewal_delay(ttl, jitter)),
    }
}

/// What follows a renewal to `renewed` of a lease that was first `granted` for that long.
pub(super) fn after_renewal(granted: Option<Duration>, renewed: Lease, jitter: f64) -> NextAction {
    let has_shrunk = match (granted, renewed.ttl) {
        (Some(granted), Some(ttl)) => ttl < granted.mul_f64(SHRINK_THRESHOLD),
        // Vault rounds down: less than a second of it is left.
        (Some(_), None) => return NextAction::Login(Duration::ZERO),
        (None, _) => false,
    };
    match after_login(renewed, jitter) {
        NextAction::Renew(wait) if has_shrunk => NextAction::Login(wait),
        next => next,
    }
}

/// The delay after so many failures in a row: full jitter below a doubling limit, and at least what
/// Vault asked for.
pub(super) fn retry_delay(failures: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
    let doubled = MIN_BACKOFF_LIMIT.saturating_mul(1 << failures.saturating_sub(1).min(10));
    let limit = doubled.min(MAX_BACKOFF_LIMIT);
    let wait = limit.mul_f64(jitter).max(MIN_RETRY_DELAY);
    wait.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER))
}

/// A delay of at most half of what is left of the lease in use.
pub(super) fn at_most_half(wait: Duration, remaining: Lease) -> Duration {
    remaining.ttl.map_or(wait, |left| wait.min(left / 2))
}

/// How many tokens in a row died young, including one that was rejected at this age.
pub(super) fn consecutive_short_lived(before: u32, age: Duration) -> u32 {
    if age < SHORT_LIFE {
        before.saturating_add(1)
    } else {
        0
    }
}

/// The delay of the login after so many tokens that died young: none after one, which may have been
/// revoked by an operator; then as after failed logins, with less jitter.
pub(super) fn short_lived_delay(short_lived: u32, jitter: f64) -> Duration {
    match short_lived {
        0 | 1 => Duration::ZERO,
        more => retry_delay(more - 1, None, 0.5 + jitter / 2.0),
    }
}

/// How long logins are suspended after credentials were rejected where Vault counts that: 15 to 45
/// minutes.
pub(super) fn lockout_pause(jitter: f64) -> Duration {
    LOCKOUT_PAUSE.mul_f64(0.5 + jitter)
}

/// The age that a token must have before a denial causes another login, after so many of those.
pub(super) fn denial_interval(denials: u32) -> Duration {
    MIN_DENIAL_INTERVAL
        .saturating_mul(1 << denials.min(10))
        .min(MAX_DENIAL_INTERVAL)
}

/// The number of such logins in a row, including one for a token of this age.
pub(super) fn consecutive_denials(before: u32, age: Duration) -> u32 {
    if age > MAX_DENIAL_INTERVAL * 2 {
        1
    } else {
        before.saturating_add(1)
    }
}

/// How long a replaced token is left to the calls that still use it.
pub(super) fn revoke_delay(remaining: Lease) -> Duration {
    remaining
        .ttl
        .map_or(MAX_REVOKE_DELAY, |ttl| (ttl / 2).min(MAX_REVOKE_DELAY))
}

/// The delay before the next health check of an unavailable Vault.
pub(super) fn health_delay(jitter: f64) -> Duration {
    HEALTH_INTERVAL.mul_f64(0.7 + 0.3 * jitter)
}

/// The delay of a login once Vault is ready: spread if it `was_unavailable`, because then the whole
/// fleet logs in.
pub(super) fn login_delay(jitter: f64, was_unavailable: bool) -> Duration {
    if was_unavailable {
        LOGIN_SPREAD.mul_f64(jitter)
    } else {
        Duration::ZERO
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
        assert_eq!(renewal_delay(HOUR, 0.5), HOUR.mul_f64(0.70));
        assert_eq!(
            after_login(lease(3600, true), 0.5),
            NextAction::Renew(HOUR.mul_f64(0.70))
        );
    }

    #[test]
    fn a_lease_that_cannot_be_renewed_is_replaced_before_it_expires() {
        assert_eq!(
            after_login(lease(3600, false), 0.5),
            NextAction::Login(HOUR.mul_f64(0.70))
        );
        let shrunk = after_renewal(Some(HOUR), lease(600, true), 0.5);
        assert_eq!(shrunk, NextAction::Login(Duration::from_secs(420)));
    }

    #[test]
    fn a_token_that_never_expires_needs_no_action() {
        assert_eq!(after_login(lease(0, false), 0.5), NextAction::None);
    }

    #[test]
    fn a_denial_long_after_the_last_starts_a_new_count() {
        assert_eq!(consecutive_denials(3, Duration::from_secs(240)), 4);
        assert_eq!(consecutive_denials(3, 2 * HOUR), 1);
    }

    #[test]
    fn the_bounds_of_the_decisions_are_these() {
        let seconds = Duration::from_secs;
        assert_eq!(renewal_delay(seconds(100), 0.0), seconds(65));
        assert_eq!(renewal_delay(seconds(100), 1.0), seconds(75));
        let renewed = |ttl| after_renewal(Some(seconds(100)), lease(ttl, true), 0.5);
        assert!(matches!(renewed(90), NextAction::Renew(_)));
        assert!(matches!(renewed(89), NextAction::Login(_)));
        assert_eq!(consecutive_short_lived(2, SHORT_LIFE - seconds(1)), 3);
        assert_eq!(consecutive_short_lived(2, SHORT_LIFE), 0);
        assert_eq!(consecutive_denials(3, MAX_DENIAL_INTERVAL + seconds(1)), 4);
        assert_eq!(consecutive_denials(3, 2 * MAX_DENIAL_INTERVAL), 4);
        assert_eq!(
            consecutive_denials(3, 2 * MAX_DENIAL_INTERVAL + seconds(1)),
            1
        );
    }

    #[test]
    fn a_full_renewal_is_followed_by_the_next() {
        let next = after_renewal(Some(HOUR), lease(3600, true), 0.5);
        assert_eq!(next, NextAction::Renew(HOUR.mul_f64(0.70)));
    }

    proptest! {
        #[test]
        fn a_lease_is_never_renewed_too_late(seconds in 2_u64..10_000_000, jitter in 0.0..1.0) {
            let ttl = Duration::from_secs(seconds);
            let wait = renewal_delay(ttl, jitter);
            prop_assert!(wait <= ttl.mul_f64(0.76) && wait >= ttl.mul_f64(0.24));
        }

        #[test]
        fn rejected_credentials_never_reach_five_in_fifteen_minutes(jitter in 0.0..1.0) {
            prop_assert!(lockout_pause(jitter) >= Duration::from_secs(15 * 60));
        }

        #[test]
        fn retry_delays_stay_within_bounds(failures in 0_u32..1000, jitter in 0.0..1.0) {
            let wait = retry_delay(failures, None, jitter);
            prop_assert!(wait >= MIN_RETRY_DELAY && wait <= MAX_BACKOFF_LIMIT);
            let asked = Duration::from_secs(30);
            prop_assert!(retry_delay(failures, Some(asked), jitter) >= asked);
            let absurd = Duration::from_secs(86_400);
            prop_assert_eq!(retry_delay(failures, Some(absurd), jitter), MAX_RETRY_AFTER);
        }

        #[test]
        fn denials_cause_logins_at_growing_intervals(denials in 0_u32..1000) {
            let wait = denial_interval(denials);
            prop_assert!(wait >= MIN_DENIAL_INTERVAL && wait <= MAX_DENIAL_INTERVAL);
            prop_assert!(wait <= denial_interval(denials + 1));
        }

        #[test]
        fn a_login_follows_within_two_seconds_of_vaults_return(a in 0.0..1.0, b in 0.0..1.0) {
            prop_assert!(health_delay(a) + login_delay(b, true) < Duration::from_secs(2));
        }
    }
}
