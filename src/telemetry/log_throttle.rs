//! Log lines that a stranger can cause: the first is written at once, then few, with a count.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Says of each event whether it gets a line of its own.
#[derive(Debug)]
pub(crate) struct LogThrottle {
    every: Duration,
    pace: Mutex<Pace>,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pace {
    last_line: Option<Instant>,
    without_line: u64,
}

impl LogThrottle {
    /// At most one line in this time.
    pub(crate) fn new(every: Duration) -> Self {
        Self {
            every,
            pace: Mutex::default(),
        }
    }

    /// Whether an event of now gets a line; if so, how many went without one since the last.
    pub(crate) fn line(&self) -> Option<u64> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, line) = pace.after(Instant::now(), self.every);
        *pace = next;
        line
    }
}

impl Pace {
    fn after(self, now: Instant, every: Duration) -> (Self, Option<u64>) {
        let waits = |last| now.saturating_duration_since(last) < every;
        if self.last_line.is_some_and(waits) {
            let without_line = self.without_line + 1;
            return (
                Self {
                    without_line,
                    ..self
                },
                None,
            );
        }
        let next = Self {
            last_line: Some(now),
            without_line: 0,
        };
        (next, Some(self.without_line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    /// What each of these moments, in seconds, brings.
    fn lines(moments: &[u64]) -> Vec<Option<u64>> {
        let start = Instant::now();
        let mut pace = Pace::default();
        let line = |&second| {
            let (next, line) = pace.after(start + Duration::from_secs(second), EVERY);
            pace = next;
            line
        };
        moments.iter().map(line).collect()
    }

    #[test]
    fn the_first_has_a_line_and_the_next_line_counts_those_between() {
        let seen = lines(&[0, 1, 2, 9, 10, 11, 25]);
        assert_eq!(seen, [Some(0), None, None, None, Some(3), None, Some(1)]);
    }

    #[test]
    fn what_is_rare_always_has_a_line() {
        assert_eq!(lines(&[0, 10, 20, 100]), [Some(0); 4]);
    }
}
