//! When to look at the key, and when its proof is too old: functions of times and numbers.

use std::time::Duration;

use tokio::time::Instant;

use super::verdict::{Judgement, VERDICT_AFTER};

/// How often the key is looked at when all is well; jittered by a tenth.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The longest wait after a failed look, once there is a proven key to work with.
const RETRY_MOST: Duration = Duration::from_secs(10);
/// The same while there is none: calls are waiting.
const RETRY_UNPROVEN: Duration = Duration::from_secs(1);
/// Looks that callers provoke are at least this far apart.
const LOOK_SPACING: Duration = Duration::from_secs(1);
/// How old a proof may grow. With a look's period and a verdict's it is seen within 6 minutes that
/// `decrypt` is no longer granted, even where nobody decrypts.
const PROOF_AGE: Duration = Duration::from_secs(300);

/// What of the proven version has to be shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing yet.
    NotDue,
    /// That its canary still decrypts; real calls show that it encrypts.
    Canary,
    /// The whole round trip.
    RoundTrip,
}

/// When the proven version last worked.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Worked {
    /// It encrypted, for whomever.
    pub(super) encrypted: Option<Instant>,
    /// It decrypted a canary. A Decrypt of kube-apiserver's does not count: of a key that was made
    /// again it may show the new one only.
    pub(super) decrypted: Option<Instant>,
}

impl Worked {
    /// What is due by now. `doubted`: something contradicted what is known, or failed.
    pub(super) fn due(self, doubted: bool, now: Instant) -> Proof {
        let fresh = |at: Option<Instant>| at.is_some_and(|at| now.duration_since(at) < PROOF_AGE);
        match (fresh(self.encrypted), fresh(self.decrypted)) {
            (true, true) if !doubted => Proof::NotDue,
            (true, false) if !doubted => Proof::Canary,
            _ => Proof::RoundTrip,
        }
    }
}

/// How a look that succeeded makes the next one come sooner.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Hurry {
    /// A caller was contradicted meanwhile, and may know more than the look saw.
    pub(super) contradicted: bool,
    /// The latest version does not work, or a verdict stands: it may be fixed any time.
    pub(super) failing: bool,
    /// When an earlier moment, if one is heard, will have to be believed.
    pub(super) belief: Option<Duration>,
}

/// How long to wait after a look that succeeded; `random` is between 0 and 1.
pub(super) fn after_success(hurry: Hurry, random: f64) -> Duration {
    let usual = LOOK_EVERY.mul_f64(0.9 + 0.2 * random);
    let belief = hurry.belief.map(|wait| wait.max(LOOK_SPACING));
    let reasons = [
        hurry.contradicted.then_some(LOOK_SPACING),
        hurry.failing.then_some(RETRY_MOST),
        belief,
    ];
    reasons.into_iter().flatten().fold(usual, Duration::min)
}

/// How long to wait after the `failed`th look in a row that failed.
pub(super) fn after_failure(judgement: Judgement, failed: u32, proven: bool) -> Duration {
    if judgement == Judgement::Suspected {
        return VERDICT_AFTER;
    }
    let most = if proven { RETRY_MOST } else { RETRY_UNPROVEN };
    Duration::from_secs(1 << failed.saturating_sub(1).min(6)).min(most)
}

/// How long a look that a caller provokes has to wait.
pub(super) fn provoked(last_look: Option<Instant>, now: Instant) -> Duration {
    let since = last_look.map_or(LOOK_SPACING, |at| now.duration_since(at));
    LOOK_SPACING.saturating_sub(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_proof_is_due_after_five_minutes_or_in_doubt() {
        let start = Instant::now();
        let now = start + seconds(1_000);
        let aged = |age: u64| now.checked_sub(seconds(age));
        let table = [
            (None, None, false, Proof::RoundTrip),
            (aged(1), None, false, Proof::Canary),
            (aged(299), aged(299), false, Proof::NotDue),
            (aged(1), aged(300), false, Proof::Canary),
            (aged(300), aged(1), false, Proof::RoundTrip),
            (aged(300), aged(300), false, Proof::RoundTrip),
            (aged(1), aged(1), true, Proof::RoundTrip),
            (aged(1), aged(300), true, Proof::RoundTrip),
        ];
        for (encrypted, decrypted, doubted, due) in table {
            let worked = Worked {
                encrypted,
                decrypted,
            };
            assert_eq!(worked.due(doubted, now), due, "{worked:?} {doubted}");
        }
    }

    #[test]
    fn a_grant_that_went_is_a_verdict_within_six_minutes() {
        let longest_look = after_success(Hurry::default(), 1.0);
        let confirmed = after_failure(Judgement::Suspected, 1, true);
        assert!(PROOF_AGE + longest_look + confirmed < seconds(360));
    }

    #[test]
    fn looks_follow_each_other_at_half_a_minute_sooner_where_something_waits_for_them() {
        let calm = Hurry::default();
        assert_eq!(after_success(calm, 0.0), seconds(27));
        assert_eq!(after_success(calm, 1.0), seconds(33));
        let hurried = |contradicted, failing, belief: Option<u64>| {
            let belief = belief.map(seconds);
            let hurry = Hurry {
                contradicted,
                failing,
                belief,
            };
            after_success(hurry, 1.0).as_secs()
        };
        assert_eq!(hurried(true, true, Some(12)), 1);
        assert_eq!(hurried(false, true, None), 10);
        assert_eq!(hurried(false, true, Some(5)), 5);
        assert_eq!(hurried(false, false, Some(60)), 33);
        assert_eq!(hurried(false, false, Some(12)), 12);
        assert_eq!(hurried(false, false, Some(0)), 1);
    }

    #[test]
    fn a_failed_look_is_repeated_after_1_2_4_up_to_10_seconds() {
        let waits = |proven| {
            let wait = |failed| after_failure(Judgement::Passing, failed, proven).as_secs();
            [1, 2, 3, 4, 5, u32::MAX].map(wait)
        };
        assert_eq!(waits(true), [1, 2, 4, 8, 10, 10]);
        assert_eq!(waits(false), [1; 6]);
        assert_eq!(after_failure(Judgement::Suspected, 1, true), seconds(2));
        assert_eq!(after_failure(Judgement::Verdict, 9, true), seconds(10));
    }

    #[test]
    fn provoked_looks_are_a_second_apart() {
        let now = Instant::now() + seconds(10);
        let ago = |millis| now.checked_sub(Duration::from_millis(millis));
        assert_eq!(provoked(None, now), Duration::ZERO);
        assert_eq!(provoked(ago(0), now), seconds(1));
        assert_eq!(provoked(ago(400), now), Duration::from_millis(600));
        assert_eq!(provoked(ago(5_000), now), Duration::ZERO);
    }
}
