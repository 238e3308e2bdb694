//! Durations and their percentiles, and time of the processor.

use std::fs;
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

    /// A line of a table.
    pub(super) fn row(&self) -> String {
        let (p50, p99) = (millis(self.percentile(50)), millis(self.percentile(99)));
        format!("{:<24}{p50:>10}{p99:>10}\n", self.name)
    }
}

/// What a process has had of the processor, all its threads, as the scheduler counts it. A thread
/// that ends takes its time with it.
pub(super) fn processor_of(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let nanoseconds = threads.filter_map(|thread| {
        let path = thread.ok()?.path().join("schedstat");
        let text = fs::read_to_string(path).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// A duration as the tables show it.
pub(super) fn millis(duration: Duration) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1000.0)
}
