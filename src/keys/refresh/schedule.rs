//! When to refresh the key, and when its proof is too old: functions of times and numbers.

use std::time::Duration;

use tokio::time::Instant;

use super::verdict::{Classification, VERDICT_AFTER};

/// How often the key is read when all is well; jittered by a tenth.
const REFRESH_INTERVAL: Duration = Duration::from_secs(30);
/// The longest wait after a failed refresh, once there is a proven key to work with.
const MAX_RETRY: Duration = Duration::from_secs(10);
/// The same while there is none: calls are waiting.
const MAX_RETRY_UNPROVEN: Duration = Duration::from_secs(1);
/// Refreshes that calls ask for are at least this far apart; doubled by each that found nothing.
const MIN_SPACING: Duration = Duration::from_secs(1);
/// How old a proof may grow. With the refresh interval and a verdict's confirmation it is seen within
/// 6 minutes that `decrypt` is no longer granted, even where nobody decrypts.
const MAX_PROOF_AGE: Duration = Duration::from_secs(300);

/// What of the proven version has to be shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProofDue {
    /// Nothing yet.
    Nothing,
    /// That its canary still decrypts; real calls show that it encrypts.
    Canary,
    /// The whole round trip.
    RoundTrip,
}

/// When the proven version last worked.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct LastProof {
    /// It encrypted, for anybody.
    pub(super) encrypted: Option<Instant>,
    /// It decrypted a canary. A Decrypt of kube-apiserver's does not count: of a key that was
    /// recreated it may show the new one only.
    pub(super) decrypted: Option<Instant>,
}

impl LastProof {
    /// What is due by now. `contradicted`: something contradicted what is known, or failed.
    pub(super) fn due(self, contradicted: bool, now: Instant) -> ProofDue {
        let is_fresh =
            |at: Option<Instant>| at.is_some_and(|at| now.duration_since(at) < MAX_PROOF_AGE);
        match (is_fresh(self.encrypted), is_fresh(self.decrypted)) {
            (true, true) if !contradicted => ProofDue::Nothing,
            (true, false) if !contradicted => ProofDue::Canary,
            _ => ProofDue::RoundTrip,
        }
    }
}

/// What makes the refresh after a successful one come sooner.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct RefreshHints {
    /// A call was contradicted meanwhile, and may know more than the refresh saw: after this delay.
    pub(super) contradicted: Option<Duration>,
    /// The latest version does not work, or a verdict is in force: it may be fixed any time.
    pub(super) failing: bool,
    /// When an older version, if one is reported, will have to be believed.
    pub(super) belief: Option<Duration>,
}

/// How long to wait after a refresh that succeeded; `random` is between 0 and 1.
pub(super) fn after_success(hints: RefreshHints, random: f64) -> Duration {
    let usual = REFRESH_INTERVAL.mul_f64(0.9 + 0.2 * random);
    let belief = hints.belief.map(|wait| wait.max(MIN_SPACING));
    let reasons = [
        hints.contradicted,
        hints.failing.then_some(MAX_RETRY),
        belief,
    ];
    reasons.into_iter().flatten().fold(usual, Duration::min)
}

/// How long to wait after the `failures`th refresh in a row that failed.
pub(super) fn after_failure(
    classification: Classification,
    failures: u32,
    is_proven: bool,
) -> Duration {
    if classification == Classification::Suspected {
        return VERDICT_AFTER;
    }
    let longest = if is_proven {
        MAX_RETRY
    } else {
        MAX_RETRY_UNPROVEN
    };
    Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(longest)
}

/// How long a refresh that a call asks for has to wait. `in_vain`: how many of those in a row found
/// that all is well, so that one bad object does not keep Vault busy.
pub(super) fn on_demand_delay(
    last_refresh: Option<Instant>,
    in_vain: u32,
    now: Instant,
) -> Duration {
    let spacing = MIN_SPACING
        .saturating_mul(1 << in_vain.min(8))
        .min(REFRESH_INTERVAL);
    let since = last_refresh.map_or(spacing, |at| now.duration_since(at));
    spacing.saturating_sub(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_proof_is_due_after_five_minutes_or_when_contradicted() {
        let start = Instant::now();
        let now = start + seconds(1_000);
        let aged = |age: u64| now.checked_sub(seconds(age));
        let table = [
            (None, None, false, ProofDue::RoundTrip),
            (aged(1), None, false, ProofDue::Canary),
            (aged(299), aged(299), false, ProofDue::Nothing),
            (aged(1), aged(300), false, ProofDue::Canary),
            (aged(300), aged(1), false, ProofDue::RoundTrip),
            (aged(300), aged(300), false, ProofDue::RoundTrip),
            (aged(1), aged(1), true, ProofDue::RoundTrip),
            (aged(1), aged(300), true, ProofDue::RoundTrip),
        ];
        for (encrypted, decrypted, contradicted, due) in table {
            let last_proof = LastProof {
                encrypted,
                decrypted,
            };
            assert_eq!(
                last_proof.due(contradicted, now),
                due,
                "{last_proof:?} {contradicted}"
            );
        }
    }

    #[test]
    fn a_grant_that_was_removed_is_a_verdict_within_six_minutes() {
        let longest_interval = after_success(RefreshHints::default(), 1.0);
        let confirmed = after_failure(Classification::Suspected, 1, true);
        assert!(MAX_PROOF_AGE + longest_interval + confirmed < seconds(360));
    }

    #[test]
    fn refreshes_are_half_a_minute_apart_and_less_where_something_waits_for_them() {
        let calm = RefreshHints::default();
        assert_eq!(after_success(calm, 0.0), seconds(27));
        assert_eq!(after_success(calm, 1.0), seconds(33));
        let hurried = |contradicted: bool, failing, belief: Option<u64>| {
            let belief = belief.map(seconds);
            let contradicted = contradicted.then_some(MIN_SPACING);
            let hints = RefreshHints {
                contradicted,
                failing,
                belief,
            };
            after_success(hints, 1.0).as_secs()
        };
        assert_eq!(hurried(true, true, Some(12)), 1);
        assert_eq!(hurried(false, true, None), 10);
        assert_eq!(hurried(false, true, Some(5)), 5);
        assert_eq!(hurried(false, false, Some(60)), 33);
        assert_eq!(hurried(false, false, Some(12)), 12);
        assert_eq!(hurried(false, false, Some(0)), 1);
    }

    #[test]
    fn a_failed_refresh_is_repeated_after_1_2_4_up_to_10_seconds() {
        let waits = |proven| {
            let wait = |failed| after_failure(Classification::Transient, failed, proven).as_secs();
            [1, 2, 3, 4, 5, u32::MAX].map(wait)
        };
        assert_eq!(waits(true), [1, 2, 4, 8, 10, 10]);
        assert_eq!(waits(false), [1; 6]);
        assert_eq!(
            after_failure(Classification::Suspected, 1, true),
            seconds(2)
        );
        assert_eq!(after_failure(Classification::Verdict, 9, true), seconds(10));
    }

    #[test]
    fn refreshes_on_demand_are_a_second_apart_and_more_where_they_find_nothing() {
        let now = Instant::now() + seconds(10);
        let ago = |millis| now.checked_sub(Duration::from_millis(millis));
        assert_eq!(on_demand_delay(None, 0, now), Duration::ZERO);
        assert_eq!(on_demand_delay(ago(0), 0, now), seconds(1));
        assert_eq!(
            on_demand_delay(ago(400), 0, now),
            Duration::from_millis(600)
        );
        assert_eq!(on_demand_delay(ago(5_000), 0, now), Duration::ZERO);
        assert_eq!(on_demand_delay(ago(0), 3, now), seconds(8));
        assert_eq!(on_demand_delay(ago(0), u32::MAX, now), seconds(30));
    }
}
