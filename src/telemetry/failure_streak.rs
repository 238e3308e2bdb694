//! Consecutive failures, for the log line that reports their end.

use std::time::Duration;

use tokio::time::Instant;

/// The failures since the last success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FailureStreak {
    failed: u32,
    began: Option<Instant>,
}

/// A streak that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreakSummary {
    /// The number of failures.
    pub(crate) failed: u32,
    /// From the first failure to the end, in whole milliseconds.
    pub(crate) lasted: Duration,
}

impl FailureStreak {
    /// Records a failure.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.failed = self.failed.saturating_add(1);
        self.began.get_or_insert(now);
    }

    /// The failures so far.
    pub(crate) fn count(self) -> u32 {
        self.failed
    }

    /// Records a success. Returns the streak that it ends, if there was one.
    pub(crate) fn end(&mut self, now: Instant) -> Option<StreakSummary> {
        let Self { failed, began } = std::mem::take(self);
        let lasted = now.saturating_duration_since(began?).as_millis();
        Some(StreakSummary {
            failed,
            lasted: Duration::from_millis(u64::try_from(lasted).unwrap_or(u64::MAX)),
        })
    }
}

impl StreakSummary {
    /// The duration as text.
    pub(crate) fn lasted(&self) -> String {
        humantime::format_duration(self.lasted).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streak_lasts_from_its_first_failure_until_a_success() {
        let start = Instant::now();
        let second = |seconds| start + Duration::from_secs(seconds);
        let mut streak = FailureStreak::default();
        assert_eq!(streak.end(start), None);
        streak.failed(second(1));
        streak.failed(second(3));
        let ended = streak.end(second(4)).expect("a streak");
        assert_eq!((ended.failed, ended.lasted().as_str()), (2, "3s"));
        assert_eq!((streak.count(), streak.end(second(5))), (0, None));
    }
}
