//! How much an actor may fail: numbers, so that a test can choose others.

use std::time::Duration;

/// How often an actor may fail, how long it is waited for, when it hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// More failures than this within the window, and restarting inside the process does not help.
    pub allowed: usize,
    /// How long a failure counts.
    pub window: Duration,
    /// The first wait before a restart.
    pub first: Duration,
    /// The longest.
    pub most: Duration,
    /// How often each actor is asked whether it is there.
    pub heartbeat_interval: Duration,
    /// An actor that gives no answer for so long hangs.
    pub heartbeat_timeout: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            allowed: 5,
            window: Duration::from_secs(60),
            first: Duration::from_millis(100),
            most: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(2),
            heartbeat_timeout: Duration::from_secs(10),
        }
    }
}
