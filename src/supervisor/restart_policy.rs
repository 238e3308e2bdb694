//! How often an actor may fail and how long it may be unresponsive; a test can choose other numbers.

use std::time::Duration;

/// The limits of an actor's failures, the back-off of its restarts, and its heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// More restarts than this within the time below do not help; the process ends.
    pub max_restarts: usize,
    /// How long a restart counts.
    pub within: Duration,
    /// The wait before the first restart.
    pub min_backoff: Duration,
    /// The longest wait.
    pub max_backoff: Duration,
    /// How often each actor gets a heartbeat.
    pub heartbeat_interval: Duration,
    /// An actor that does not answer a heartbeat for this long is killed.
    pub heartbeat_timeout: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            max_restarts: 5,
            within: Duration::from_secs(60),
            min_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(2),
            heartbeat_timeout: Duration::from_secs(10),
        }
    }
}
