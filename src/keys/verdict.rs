//! When a refusal is certain: a function of what looks at the key met, and when.
//!
//! One refusal can be a standby that lags, a policy that is being rewritten, a proxy's whim. So it
//! takes two, a while apart, each in Vault's own JSON and with a token that is known to be alive:
//! whether an error is of that kind is for [`KeyError::may_be_verdict`](super::KeyError) to say.

use std::time::Duration;

use tokio::time::Instant;

/// Two refusals make a verdict only when they are this far apart.
pub(super) const VERDICT_AFTER: Duration = Duration::from_secs(2);

/// What a failed look amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It passes by itself.
    Passing,
    /// A refusal that nothing confirms yet.
    Suspected,
    /// A refusal that was confirmed: only an operator can fix it.
    Verdict,
}

/// Since when every look was refused.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suspicion(Option<Instant>);

impl Suspicion {
    /// What a failed look at `now` amounts to after what came before it, and what to remember.
    pub(super) fn judge(self, refused: bool, now: Instant) -> (Self, Judgement) {
        match self.0 {
            _ if !refused => (Self::default(), Judgement::Passing),
            None => (Self(Some(now)), Judgement::Suspected),
            Some(since) if now.duration_since(since) < VERDICT_AFTER => {
                (self, Judgement::Suspected)
            }
            Some(_) => (self, Judgement::Verdict),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Judgement::{Passing, Suspected, Verdict};
    use super::*;

    const REFUSED: bool = true;
    const FAILED: bool = false;

    /// Milliseconds since the first look, and how this one ended.
    type Look = (u64, bool);

    /// What each of these looks amounts to.
    fn judged(looks: &[Look]) -> Vec<Judgement> {
        let (start, mut suspicion) = (Instant::now(), Suspicion::default());
        let mut judge = |&(at, refused): &Look| {
            let (next, judgement) = suspicion.judge(refused, start + Duration::from_millis(at));
            suspicion = next;
            judgement
        };
        looks.iter().map(&mut judge).collect()
    }

    #[test]
    fn it_takes_two_refusals_two_seconds_apart_and_nothing_else_between() {
        let table: [(&[Look], &[Judgement]); 8] = [
            (&[(0, FAILED)], &[Passing]),
            (&[(0, REFUSED)], &[Suspected]),
            (&[(0, REFUSED), (1_999, REFUSED)], &[Suspected, Suspected]),
            (&[(0, REFUSED), (2_000, REFUSED)], &[Suspected, Verdict]),
            (
                &[(0, REFUSED), (1_000, REFUSED), (2_000, REFUSED)],
                &[Suspected, Suspected, Verdict],
            ),
            // A passing fault says nothing of the key, but it breaks the chain.
            (
                &[(0, REFUSED), (1_000, FAILED), (3_000, REFUSED)],
                &[Suspected, Passing, Suspected],
            ),
            (
                &[(0, REFUSED), (2_000, REFUSED), (60_000, REFUSED)],
                &[Suspected, Verdict, Verdict],
            ),
            (&[(0, FAILED), (9_000, FAILED)], &[Passing, Passing]),
        ];
        for (looks, judgements) in table {
            assert_eq!(judged(looks), judgements, "{looks:?}");
        }
    }
}
