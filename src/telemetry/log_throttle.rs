//! Log lines that others can cause any number of: the first is written at once, then few, with the
//! number of those between.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Decides which events of a kind get a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogThrottle {
    /// From one line to the next.
    interval: Duration,
    max_interval: Duration,
    next_line: Option<Instant>,
    suppressed: u64,
}

/// A [`LogThrottle`] for several tasks.
#[derive(Debug)]
pub(crate) struct SharedLogThrottle(Mutex<LogThrottle>);

impl LogThrottle {
    /// Allows one line in this time.
    pub(crate) fn new(interval: Duration) -> Self {
        Self::growing(interval, interval)
    }

    /// Doubles the time from line to line, up to `max_interval`.
    pub(crate) fn growing(interval: Duration, max_interval: Duration) -> Self {
        Self {
            interval,
            max_interval,
            next_line: None,
            suppressed: 0,
        }
    }

    /// Returns how many events got no line since the last line, or `None` if this one gets none
    /// either. `is_new`: the event says something new and gets a line of its own at once.
    pub(crate) fn allow(&mut self, is_new: bool, now: Instant) -> Option<u64> {
        let is_due = self.next_line.is_none_or(|next| now >= next);
        if is_due {
            if self.next_line.is_some() {
                self.interval = (self.interval * 2).min(self.max_interval);
            }
            self.next_line = Some(now + self.interval);
        }
        if is_due || is_new {
            return Some(std::mem::take(&mut self.suppressed));
        }
        self.suppressed += 1;
        None
    }
}

impl SharedLogThrottle {
    /// Allows one line in this time.
    pub(crate) fn new(interval: Duration) -> Self {
        Self(Mutex::new(LogThrottle::new(interval)))
    }

    /// As [`LogThrottle::allow`], for an event that happens now.
    pub(crate) fn allow(&self) -> Option<u64> {
        let mut throttle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        throttle.allow(false, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    /// What events at these moments, in seconds, return.
    fn lines(moments: &[u64]) -> Vec<Option<u64>> {
        let start = Instant::now();
        let mut throttle = LogThrottle::new(INTERVAL);
        let line = |&second| throttle.allow(false, start + Duration::from_secs(second));
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
