//! When a rejection is certain: a function of what refreshes of the key met, and when.
//!
//! One rejection can be a standby that lags, a policy that is being rewritten, or a proxy's. So it
//! takes two, a while apart, each in Vault's own JSON and with a token that is known to be valid:
//! whether an error is of that kind is for [`KeyError::may_be_verdict`](super::super::KeyError).

use std::time::Duration;

use tokio::time::Instant;

/// Two rejections make a verdict only when they are this far apart.
pub(super) const VERDICT_AFTER: Duration = Duration::from_secs(2);

/// What a failed refresh amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Classification {
    /// It passes by itself.
    Transient,
    /// A rejection that nothing confirms yet.
    Suspected,
    /// A rejection that was confirmed: only an operator can fix it.
    Verdict,
}

/// Since when every refresh was rejected.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct RefusalStreak(Option<Instant>);

impl RefusalStreak {
    /// When the first of them was rejected.
    #[cfg(all(test, feature = "kmsctl"))]
    pub(super) fn since(&mut self) -> Option<&mut Instant> {
        self.0.as_mut()
    }

    /// What a failed refresh at `now` amounts to after what came before it, and what to remember.
    pub(super) fn classify(self, rejected: bool, now: Instant) -> (Self, Classification) {
        match self.0 {
            _ if !rejected => (Self::default(), Classification::Transient),
            None => (Self(Some(now)), Classification::Suspected),
            Some(since) if now.duration_since(since) < VERDICT_AFTER => {
                (self, Classification::Suspected)
            }
            Some(_) => (self, Classification::Verdict),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Classification::{Suspected, Transient, Verdict};
    use super::*;

    const REFUSED: bool = true;
    const FAILED: bool = false;

    /// Milliseconds since the first refresh, and how this one ended.
    type Refresh = (u64, bool);

    /// What each of these refreshes amounts to.
    fn classified(refreshes: &[Refresh]) -> Vec<Classification> {
        let (start, mut streak) = (Instant::now(), RefusalStreak::default());
        let mut classify = |&(at, refused): &Refresh| {
            let (next, classification) =
                streak.classify(refused, start + Duration::from_millis(at));
            streak = next;
            classification
        };
        refreshes.iter().map(&mut classify).collect()
    }

    #[test]
    fn it_takes_two_refusals_two_seconds_apart_and_nothing_else_between() {
        let table: [(&[Refresh], &[Classification]); 8] = [
            (&[(0, FAILED)], &[Transient]),
            (&[(0, REFUSED)], &[Suspected]),
            (&[(0, REFUSED), (1_999, REFUSED)], &[Suspected, Suspected]),
            (&[(0, REFUSED), (2_000, REFUSED)], &[Suspected, Verdict]),
            (
                &[(0, REFUSED), (1_000, REFUSED), (2_000, REFUSED)],
                &[Suspected, Suspected, Verdict],
            ),
            // A transient fault says nothing of the key, but it breaks the chain.
            (
                &[(0, REFUSED), (1_000, FAILED), (3_000, REFUSED)],
                &[Suspected, Transient, Suspected],
            ),
            (
                &[(0, REFUSED), (2_000, REFUSED), (60_000, REFUSED)],
                &[Suspected, Verdict, Verdict],
            ),
            (&[(0, FAILED), (9_000, FAILED)], &[Transient, Transient]),
        ];
        for (refreshes, classifications) in table {
            assert_eq!(classified(refreshes), classifications, "{refreshes:?}");
        }
    }
}
