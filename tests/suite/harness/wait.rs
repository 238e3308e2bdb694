//! The only place where a test waits: for something to become true, under a limit.

use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_millis(20);

/// Asks `check` every 20 ms until it gives a value; panics with `what` when `limit` has passed.
pub async fn until<T>(what: &str, limit: Duration, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(
            start.elapsed() < limit,
            "waited {limit:?} in vain for: {what}"
        );
        tokio::time::sleep(PERIOD).await;
    }
}

/// The same for a plain condition.
pub async fn until_true(what: &str, limit: Duration, mut check: impl AsyncFnMut() -> bool) {
    until(what, limit, async || check().await.then_some(())).await;
}
