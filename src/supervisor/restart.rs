//! When a failed actor is restarted, and when it is time to give up: a function of its failures.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::restart_policy::RestartPolicy;

/// The recent failures of one actor.
#[derive(Debug, Default)]
pub(super) struct Failures {
    times: VecDeque<Instant>,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Start it again after this.
    RestartIn(Duration),
    /// End the process.
    GiveUp,
}

impl Failures {
    /// Counts a failure. `jitter` is a random number of [0, 1).
    pub(super) fn note(&mut self, policy: &RestartPolicy, now: Instant, jitter: f64) -> Decision {
        self.times.push_back(now);
        while self
            .times
            .front()
            .is_some_and(|&first| now - first > policy.window)
        {
            self.times.pop_front();
        }
        if self.times.len() > policy.allowed {
            return Decision::GiveUp;
        }
        Decision::RestartIn(wait(policy, self.times.len(), jitter))
    }

    /// The same for an actor whose failures never end the process.
    pub(super) fn note_harmless(
        &mut self,
        policy: &RestartPolicy,
        now: Instant,
        jitter: f64,
    ) -> Decision {
        match self.note(policy, now, jitter) {
            Decision::GiveUp => Decision::RestartIn(wait(policy, self.times.len(), jitter)),
            restart => restart,
        }
    }
}

fn wait(policy: &RestartPolicy, failures: usize, jitter: f64) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(16);
    let most = policy.first.saturating_mul(1 << doublings).min(policy.most);
    most.mul_f64(0.5 + 0.5 * jitter)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static USUAL: LazyLock<RestartPolicy> = LazyLock::new(RestartPolicy::default);

    #[test]
    fn five_failures_a_minute_are_restarted_and_the_sixth_is_not() {
        let (start, mut failures) = (Instant::now(), Failures::default());
        for count in 0..5 {
            let decision = failures.note(&USUAL, start + Duration::from_secs(count), 0.0);
            assert!(matches!(decision, Decision::RestartIn(_)));
        }
        assert_eq!(
            failures.note(&USUAL, start + Duration::from_secs(6), 0.0),
            Decision::GiveUp
        );
    }

    #[test]
    fn old_failures_are_forgotten() {
        let (start, mut failures) = (Instant::now(), Failures::default());
        for count in 0..50 {
            let decision = failures.note(&USUAL, start + Duration::from_secs(13 * count), 0.0);
            assert!(matches!(decision, Decision::RestartIn(_)), "{count}");
        }
    }

    #[test]
    fn harmless_failures_wait_longer_and_longer_but_never_end() {
        let (start, mut failures) = (Instant::now(), Failures::default());
        let mut last = Decision::GiveUp;
        for _ in 0..100 {
            last = failures.note_harmless(&USUAL, start, 0.999);
        }
        let Decision::RestartIn(wait) = last else {
            panic!("gave up")
        };
        assert!(wait <= USUAL.most && wait >= USUAL.most.mul_f64(0.9));
    }

    #[test]
    fn the_first_restart_comes_at_once() {
        let mut failures = Failures::default();
        let Decision::RestartIn(wait) = failures.note(&USUAL, Instant::now(), 0.999) else {
            panic!("gave up")
        };
        assert!(wait <= USUAL.first);
    }
}
