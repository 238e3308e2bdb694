//! Callers that encrypt and decrypt continuously, as a busy kube-apiserver does, and their results.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::kms::KmsClient;
use super::wait;

/// Running callers.
pub struct Load {
    seen: Arc<Seen>,
    callers: Vec<JoinHandle<()>>,
}

/// What all calls came to.
#[derive(Debug)]
pub struct Outcome {
    /// How many there were.
    pub calls: u64,
    /// Those that failed, or brought something wrong.
    pub failures: Vec<Failure>,
}

/// A call that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When it ended.
    pub at: Instant,
    /// What it said.
    pub text: String,
}

#[derive(Default)]
struct Seen {
    calls: AtomicU64,
    last_success: Mutex<Option<Instant>>,
    failures: Mutex<Vec<Failure>>,
    stop: AtomicBool,
}

impl Load {
    /// One caller for each client, which rests for `pause` after each call.
    pub fn start(clients: Vec<KmsClient>, pause: Duration) -> Self {
        let seen = Arc::new(Seen::default());
        let start = |client| tokio::spawn(call_steadily(client, pause, seen.clone()));
        let callers = clients.into_iter().map(start).collect();
        Self { seen, callers }
    }

    /// How many calls have ended.
    pub fn calls(&self) -> u64 {
        self.seen.calls.load(Ordering::Relaxed)
    }

    /// When a call succeeded first after this moment.
    pub async fn success_after(&self, moment: Instant, limit: Duration) -> Instant {
        wait::until("a call to succeed", limit, async || {
            self.seen.last_success().filter(|&at| at > moment)
        })
        .await
    }

    /// Until so many more calls have ended.
    pub async fn progress(&self, calls: u64, limit: Duration) {
        let before = self.calls();
        wait::until_true("calls to go on", limit, async || {
            self.calls() >= before + calls
        })
        .await;
    }

    /// Ends the callers.
    pub async fn stop(self) -> Outcome {
        self.seen.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.expect("a caller does not panic");
        }
        Outcome {
            calls: self.seen.calls.load(Ordering::Relaxed),
            failures: lock(&self.seen.failures).clone(),
        }
    }
}

impl Outcome {
    /// Panics unless every call succeeded.
    pub fn expect_no_failure(&self) {
        assert!(
            self.failures.is_empty(),
            "{} of {} calls failed, the first: {:?}",
            self.failures.len(),
            self.calls,
            self.failures.first()
        );
    }
}

impl Seen {
    fn last_success(&self) -> Option<Instant> {
        *lock(&self.last_success)
    }

    fn note<T>(&self, outcome: Result<T, String>) -> Option<T> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let at = Instant::now();
        match outcome {
            Ok(value) => {
                *lock(&self.last_success) = Some(at);
                Some(value)
            }
            Err(text) => {
                lock(&self.failures).push(Failure { at, text });
                None
            }
        }
    }
}

async fn call_steadily(client: KmsClient, pause: Duration, seen: Arc<Seen>) {
    while !seen.stop.load(Ordering::Relaxed) {
        round_trip(&client, pause, &seen).await;
        tokio::time::sleep(pause).await;
    }
}

async fn round_trip(client: &KmsClient, pause: Duration, seen: &Seen) -> Option<()> {
    let seed: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
    let text = |error: tonic::Status| error.to_string();
    let (ciphertext, key_id) = seen.note(client.encrypt(&seed).await.map_err(text))?;
    tokio::time::sleep(pause).await;
    let plaintext = client.decrypt(&ciphertext, &key_id).await.map_err(text);
    seen.note(plaintext.and_then(|plaintext| match plaintext == seed {
        true => Ok(()),
        false => Err("a wrong plaintext".to_owned()),
    }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
