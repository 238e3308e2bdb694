//! Durations and their percentiles.

use std::time::Duration;

/// All durations of one kind of call.
pub(super) struct Series {
    name: &'static str,
    taken: Vec<Duration>,
}

impl Series {
    pub(super) fn new(name: &'static str) -> Self {
        let taken = Vec::new();
        Self { name, taken }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn add(&mut self, taken: Duration) {
        self.taken.push(taken);
    }

    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }

    /// The duration that `percent` of all calls did not exceed.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.taken.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted[rank.saturating_sub(1)]
    }
}

/// A duration as the tables show it.
pub(super) fn millis(duration: Duration) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1000.0)
}
