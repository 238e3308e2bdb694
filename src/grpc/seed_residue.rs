//! What calls leave behind in a connection. The buffers of hyper and h2 live as long as the connection
//! and keep the seeds that they carried last, until other bytes happen to overwrite them. So a
//! connection that carried a seed is closed once it has carried none for a while: the client gets a
//! GOAWAY, calls in flight end, and it connects again for its next call.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// A busy connection stays open; one that serves a call a minute costs a reconnect a minute.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// The methods whose calls carry a seed, under KMS v2 and v1.
const SEED_METHODS: [&str; 2] = ["/Encrypt", "/Decrypt"];

/// When a connection last carried a seed.
#[derive(Debug, Clone, Default)]
pub(super) struct SeedActivity(Arc<watch::Sender<Last>>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Last {
    answered: Option<Instant>,
    /// Calls in flight: a connection with one is not idle.
    running: usize,
}

/// A call that carries a seed, until it is answered or given up.
pub(super) struct SeedCall(SeedActivity);

impl SeedActivity {
    /// Records a call of this path until the returned guard is dropped. Returns `None` if its method
    /// carries no seed.
    pub(super) fn record(&self, path: &str) -> Option<SeedCall> {
        if !SEED_METHODS.iter().any(|method| path.ends_with(method)) {
            return None;
        }
        self.0.send_modify(|last| last.running += 1);
        Some(SeedCall(self.clone()))
    }

    /// Waits until seeds were carried, the last one [`IDLE_AFTER`] ago, and no call is in flight.
    pub(super) async fn idle(&self) {
        // Cannot fail: `self` holds the sender.
        let _ = self
            .0
            .subscribe()
            .wait_for(|it| it.answered.is_some())
            .await;
        loop {
            let last = *self.0.borrow();
            let since = match last.running {
                0 => last.answered.unwrap_or_else(Instant::now),
                _ => Instant::now(),
            };
            sleep_until(since + IDLE_AFTER).await;
            if last.running == 0 && *self.0.borrow() == last {
                return;
            }
        }
    }
}

impl Drop for SeedCall {
    fn drop(&mut self) {
        let Self(SeedActivity(last)) = self;
        last.send_modify(|last| {
            last.running -= 1;
            last.answered = Some(Instant::now());
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// How long it takes until the connection is idle, if it ever is.
    async fn idle_after(activity: &SeedActivity) -> Option<Duration> {
        let start = Instant::now();
        let is_idle = timeout(LONG, activity.idle()).await.is_ok();
        is_idle.then(|| start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_carried_no_seed_stays_open() {
        let activity = SeedActivity::default();
        for path in [
            "/v2.KeyManagementService/Status",
            "/v1beta1.KeyManagementService/Version",
        ] {
            assert!(activity.record(path).is_none(), "{path}");
        }
        assert_eq!(idle_after(&activity).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_a_while_after_its_last_seed_was_answered() {
        for service in ["v2", "v1beta1"] {
            for method in ["Encrypt", "Decrypt"] {
                let activity = SeedActivity::default();
                drop(activity.record(&format!("/{service}.KeyManagementService/{method}")));
                sleep(IDLE_AFTER / 4).await;
                let left = idle_after(&activity).await.expect("it becomes idle");
                assert!(left <= IDLE_AFTER && left >= IDLE_AFTER / 2, "{left:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_a_call_in_flight_is_not_idle() {
        let activity = SeedActivity::default();
        drop(activity.record("/v2.KeyManagementService/Encrypt"));
        let running = activity.record("/v2.KeyManagementService/Decrypt");
        assert_eq!(idle_after(&activity).await, None);
        drop(running);
        assert!(idle_after(&activity).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn each_further_seed_keeps_the_connection_open_for_as_long_again() {
        let activity = SeedActivity::default();
        let calls = async {
            for _ in 0..20 {
                drop(activity.record("/v2.KeyManagementService/Encrypt"));
                sleep(IDLE_AFTER * 9 / 10).await;
            }
        };
        let (idle, ()) = tokio::join!(idle_after(&activity), calls);
        let last = IDLE_AFTER * 9 / 10 * 19;
        let idle = idle.expect("it becomes idle");
        assert!(
            idle >= last + IDLE_AFTER && idle < last + 3 * IDLE_AFTER,
            "{idle:?}"
        );
    }
}
