//! Failures in a streak, for the line that says they are over.

use std::time::Duration;

use tokio::time::Instant;

/// Failures of the same thing since it last worked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FailureStreak {
    failed: u32,
    began: Option<Instant>,
}

/// A streak that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreakSummary {
    /// How many failures it had.
    pub(crate) failed: u32,
    /// From the first of them until now, in whole milliseconds: what is below says nothing.
    pub(crate) lasted: Duration,
}

impl FailureStreak {
    /// One more.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.failed = self.failed.saturating_add(1);
        self.began.get_or_insert(now);
    }

    /// How many there are so far.
    pub(crate) fn count(self) -> u32 {
        self.failed
    }

    /// It worked: what streak that ended, if it did. The next one begins with nothing.
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
    /// How long it lasted, for an operator.
    pub(crate) fn lasted(&self) -> String {
        humantime::format_duration(self.lasted).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_from_its_first_failure_until_something_works() {
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
