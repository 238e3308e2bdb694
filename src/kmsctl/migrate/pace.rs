//! How fast requests may follow each other.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Gives each request its turn.
#[derive(Debug)]
pub(super) struct Pace {
    /// `None` is no limit.
    interval: Option<Duration>,
    next: Mutex<Instant>,
}

impl Pace {
    /// At most `qps` a second; 0 is no limit.
    pub(super) fn new(qps: u32) -> Self {
        Self {
            interval: (qps > 0).then(|| Duration::from_secs(1) / qps),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits for the next turn. What was not used is not made up for: a server that was slow is not hit by
    /// all that it missed.
    pub(super) async fn turn(&self) {
        let Some(interval) = self.interval else {
            return;
        };
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next).max(Instant::now());
            *next = turn + interval;
            turn
        };
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_are_spread_evenly_and_not_made_up_for() {
        let (pace, began) = (Pace::new(10), Instant::now());
        for _ in 0..11 {
            pace.turn().await;
        }
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let began = Instant::now();
        for _ in 0..3 {
            pace.turn().await;
        }
        assert!(began.elapsed() >= Duration::from_millis(200));
    }
}
