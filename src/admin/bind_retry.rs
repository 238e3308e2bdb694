//! Waits between attempts to listen on an address that is in use, and the log lines about them.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::telemetry::{LogThrottle, events};

/// The first wait; doubled each time.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// The longest. Another instance in the same network may end at any time, and kubelet probes each few seconds.
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// From one line to the next: in a pod with two instances the address is in use for good.
const LINE_INTERVAL: Duration = Duration::from_secs(60);
const MAX_LINE_INTERVAL: Duration = Duration::from_secs(3600);

/// The attempts for one address.
#[derive(Debug)]
pub(super) struct BindRetry {
    lines: LogThrottle,
    backoff: Duration,
}

impl Default for BindRetry {
    fn default() -> Self {
        Self {
            lines: LogThrottle::growing(LINE_INTERVAL, MAX_LINE_INTERVAL),
            backoff: MIN_BACKOFF,
        }
    }
}

impl BindRetry {
    /// Logs the error, and returns when the next attempt is due.
    pub(super) async fn failed(&mut self, error: String) {
        if let Some(suppressed) = self.lines.allow(false, Instant::now()) {
            events::NotListening { error, suppressed }.emit();
        }
        let wait = self.backoff.mul_f64(0.5 + 0.5 * fastrand::f64());
        self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
        sleep(wait).await;
    }
}
