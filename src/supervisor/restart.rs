//! When a failed actor is restarted, and when the process gives up: a function of its failures.

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
    /// Records a failure. `jitter` is a random number in [0, 1).
    pub(super) fn record(&mut self, policy: &RestartPolicy, now: Instant, jitter: f64) -> Decision {
        self.times.push_back(now);
        while self
            .times
            .front()
            .is_some_and(|&first| now - first > policy.within)
        {
            self.times.pop_front();
        }
        if self.times.len() > policy.max_restarts {
            return Decision::GiveUp;
        }
        Decision::RestartIn(wait(policy, self.times.len(), jitter))
    }

    /// The actor did nothing for this long before it was killed. Its earlier failures do not grow old
    /// meanwhile: otherwise one that hangs after each restart would never reach the limit.
    pub(super) fn hung(&mut self, hung_for: Duration) {
        for time in &mut self.times {
            *time += hung_for;
        }
    }

    /// Records a failure of an actor whose failures never end the process.
    pub(super) fn record_unlimited(
        &mut self,
        policy: &RestartPolicy,
        now: Instant,
        jitter: f64,
    ) -> Decision {
        match self.record(policy, now, jitter) {
            Decision::GiveUp => Decision::RestartIn(wait(policy, self.times.len(), jitter)),
            restart => restart,
        }
    }
}

fn wait(policy: &RestartPolicy, failures: usize, jitter: f64) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(16);
    let limit = policy
        .min_backoff
        .saturating_mul(1 << doublings)
        .min(policy.max_backoff);
    limit.mul_f64(0.5 + 0.5 * jitter)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static DEFAULT: LazyLock<RestartPolicy> = LazyLock::new(RestartPolicy::default);

    #[test]
    fn five_failures_a_minute_are_restarted_and_the_sixth_is_not() {
        let (start, mut failures) = (Instant::now(), Failures::default());
        for count in 0..5 {
            let decision = failures.record(&DEFAULT, start + Duration::from_secs(count), 0.0);
            assert!(matches!(decision, Decision::RestartIn(_)));
        }
        assert_eq!(
            failures.record(&DEFAULT, start + Duration::from_secs(6), 0.0),
            Decision::GiveUp
        );
    }

    #[test]
    fn an_actor_that_hangs_after_each_restart_reaches_the_limit_too() {
        let (mut now, mut failures) = (Instant::now(), Failures::default());
        let hang = DEFAULT.heartbeat_timeout + DEFAULT.heartbeat_interval;
        let mut decisions = Vec::new();
        for _ in 0..6 {
            now += hang;
            failures.hung(hang);
            decisions.push(failures.record(&DEFAULT, now, 0.0));
            now += DEFAULT.heartbeat_interval;
        }
        let restarts = decisions.iter().filter(|it| **it != Decision::GiveUp);
        assert_eq!(restarts.count(), 5);
        assert_eq!(decisions.last(), Some(&Decision::GiveUp));
    }

    #[test]
    fn old_failures_do_not_count() {
        let (start, mut failures) = (Instant::now(), Failures::default());
        for count in 0..50 {
            let decision = failures.record(&DEFAULT, start + Duration::from_secs(13 * count), 0.0);
            assert!(matches!(decision, Decision::RestartIn(_)), "{count}");
        }
    }

    #[test]
    fn harmless_failures_wait_longer_and_longer_but_never_end() {
        let (start, mut failures) = (Instant::now(), Failures::default());
        let mut last = Decision::GiveUp;
        for _ in 0..100 {
            last = failures.record_unlimited(&DEFAULT, start, 0.999);
        }
        let Decision::RestartIn(wait) = last else {
            panic!("gave up")
        };
        assert!(wait <= DEFAULT.max_backoff && wait >= DEFAULT.max_backoff.mul_f64(0.9));
    }

    #[test]
    fn the_first_restart_comes_within_the_minimum_backoff() {
        let mut failures = Failures::default();
        let Decision::RestartIn(wait) = failures.record(&DEFAULT, Instant::now(), 0.999) else {
            panic!("gave up")
        };
        assert!(wait <= DEFAULT.min_backoff);
    }
}
