//! What calls leave in a connection. The buffers of hyper and h2 live as long as the connection and
//! keep the seeds that they last carried, until other bytes happen to cover them. So a connection
//! that carried a seed is closed once it has carried none for a while: the client is told (GOAWAY),
//! calls in flight end, and it connects again when it next has something to ask.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// A busy connection is left alone; one that serves a call a minute costs a reconnect a minute.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Calls of these names carry a seed, under KMS v2 and v1.
const CARRIERS: [&str; 2] = ["/Encrypt", "/Decrypt"];

/// When a connection last carried a seed.
#[derive(Debug, Clone, Default)]
pub(super) struct Traces(Arc<watch::Sender<Last>>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Last {
    answered: Option<Instant>,
    /// Calls that are under way: a connection with one is not idle.
    running: usize,
}

/// A call that carries a seed, until it is answered or given up.
pub(super) struct Carrier(Traces);

impl Traces {
    /// Notes a call of this path, if it leaves a trace, until what is returned is dropped.
    pub(super) fn note(&self, path: &str) -> Option<Carrier> {
        let leaves_some = CARRIERS.iter().any(|name| path.ends_with(name));
        leaves_some.then(|| self.carrier())
    }

    fn carrier(&self) -> Carrier {
        self.0.send_modify(|last| last.running += 1);
        Carrier(self.clone())
    }

    /// Returns once there are traces, none is younger than [`KEPT_FOR`], and no call is under way.
    pub(super) async fn are_old(&self) {
        // It cannot fail while the sender is here.
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
            sleep_until(since + KEPT_FOR).await;
            if last.running == 0 && *self.0.borrow() == last {
                return;
            }
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        let Self(Traces(last)) = self;
        last.send_modify(|last| {
            last.running -= 1;
            last.answered = Some(Instant::now());
        });
    }
}
