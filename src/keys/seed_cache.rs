//! The seed cache (`outage.seed_cache`): what Vault encrypted or decrypted is kept, sealed, so that a Decrypt has
//! an answer while Vault is away.
//!
//! It belongs to the backend and not to the KeyManager, whose crash says nothing against the seeds; a reload that
//! changes Vault, the login or the keys begins with an empty one. A revocation ends it: see [`SeedCache::wipe`].

mod entry_id;
mod seal;
mod store;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::error::KeyError;
use crate::diagnosis::Diagnosis;
use crate::system::clock::since_boot;
use crate::telemetry::LogThrottle;
use crate::telemetry::events;
use crate::telemetry::metrics::Metrics;
use crate::vault::{AssociatedData, Ciphertext, Plaintext, TransitKey};
use entry_id::{EntryId, entry_id};
pub(super) use store::Proof;
use store::{Miss, Store};

/// Which part of a caller's time Vault has before the cache answers …
const VAULTS_PART: u32 = 3;
/// … but no longer than this: kube-apiserver decrypts the seeds of a list one after the other, in a minute.
const VAULTS_TIME: Duration = Duration::from_secs(1);
/// The same once Vault is known to be away: it is still asked first, each time.
const VAULTS_TIME_WHEN_AWAY: Duration = Duration::from_millis(100);
/// From one line to the next where Vault comes and goes.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// A handle on the cache, which may be off: then it holds nothing, and costs a look at a flag.
#[derive(Debug, Clone)]
pub struct SeedCache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    is_on: AtomicBool,
    running: Mutex<Option<Running>>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Running {
    store: Store,
    max_age: Duration,
    /// Since Vault failed and the cache answered, until Vault succeeds.
    serving: Option<Serving>,
    throttle: LogThrottle,
}

#[derive(Debug)]
struct Serving {
    since: Instant,
    answered: u64,
    /// Whether its begin was logged.
    logged: bool,
}

/// An entry that may answer a Decrypt.
#[derive(Debug)]
pub(super) struct Remembered(EntryId);

/// What monitoring shows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedCacheReport {
    /// How many seeds it holds.
    pub entries: usize,
    /// Whether it answers because Vault fails.
    pub serving: bool,
    /// How long ago Vault last did something with a key of which there are seeds.
    pub age: Option<Duration>,
    /// `outage.max_age`.
    pub max_age: Duration,
}

impl SeedCache {
    /// Off, or with a locked page of its own: `max_age` is how long it answers after Vault's last success.
    ///
    /// # Errors
    /// If the kernel gives no locked page.
    pub fn new(max_age: Option<Duration>, metrics: Metrics) -> Result<Self, Diagnosis> {
        let cache = Self(Arc::new(Shared {
            is_on: AtomicBool::new(false),
            running: Mutex::new(None),
            metrics,
        }));
        cache.set(max_age)?;
        Ok(cache)
    }

    /// Switches it on or off, or changes how long it answers. Off wipes it.
    ///
    /// # Errors
    /// If the kernel gives no locked page; it stays as it was then.
    pub fn set(&self, max_age: Option<Duration>) -> Result<(), Diagnosis> {
        let Some(max_age) = max_age else {
            self.close("it was switched off");
            return Ok(());
        };
        let mut running = self.lock();
        match &mut *running {
            Some(running) => running.max_age = max_age,
            None => {
                *running = Some(Running {
                    store: Store::new().map_err(|it| it.about("outage.seed_cache"))?,
                    max_age,
                    serving: None,
                    throttle: LogThrottle::new(LINE_INTERVAL),
                });
            }
        }
        self.0.is_on.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Wipes it, and keeps nothing from now on.
    pub fn close(&self, why: &'static str) {
        self.0.is_on.store(false, Ordering::Relaxed);
        if let Some(mut running) = self.lock().take() {
            running.wipe(why);
        }
    }

    /// Forgets every seed, and the key that they were sealed under: something was revoked.
    pub fn wipe(&self, why: &'static str) {
        self.with(|running| running.wipe(why));
    }

    /// What monitoring shows; `None` if it is off.
    #[must_use]
    pub fn report(&self) -> Option<SeedCacheReport> {
        let running = self.running()?;
        let running = running.as_ref()?;
        let last = running.store.last_success();
        Some(SeedCacheReport {
            entries: running.store.len(),
            serving: running.serving.is_some(),
            age: last.map(|last| since_boot().saturating_sub(last)),
            max_age: running.max_age,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        let running = self.0.running.lock();
        running.unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> Option<MutexGuard<'_, Option<Running>>> {
        self.0.is_on.load(Ordering::Relaxed).then(|| self.lock())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Running) -> T) -> Option<T> {
        self.running()?.as_mut().map(act)
    }
}

/// For the KeyManager.
impl SeedCache {
    /// Whether it keeps anything.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_on.load(Ordering::Relaxed)
    }

    /// Keeps what Vault encrypted or decrypted just now.
    pub(super) fn keep(
        &self,
        key: &TransitKey,
        ciphertext: &Ciphertext,
        associated_data: Option<&AssociatedData>,
        seed: &Plaintext,
        proof: Proof,
    ) {
        self.with(|running| {
            let id = entry_id(key, ciphertext, associated_data);
            running.store.keep(key, id, seed, proof, since_boot());
            running.vault_answers();
        });
    }

    /// The refresh proved the key.
    pub(super) fn proved(&self, key: &TransitKey) {
        self.with(|running| {
            running.store.succeeded(key, Proof::Decrypted, since_boot());
            running.vault_answers();
        });
    }

    /// Vault refused a call for the writing key: nothing of it is answered until Vault decrypts with it again.
    pub(super) fn suspend(&self, key: &TransitKey) {
        self.with(|running| running.store.suspend(key));
    }

    /// The same for every key: the credentials, or what the refresh needs, are refused.
    pub(super) fn suspend_all(&self) {
        self.with(|running| running.store.suspend_all());
    }

    /// Vault refused a call for a key that only reads, of which no refresh finds out more.
    pub(super) fn forget(&self, key: &TransitKey) {
        self.with(|running| {
            let entries = running.store.forget(key);
            log_wiped(entries, "vault refuses the key");
        });
    }

    /// Forgets what is too old to be answered.
    pub(super) fn expire(&self) {
        self.with(Running::expire);
    }

    /// The entry that may answer, if Vault cannot.
    pub(super) fn remembered(
        &self,
        key: &TransitKey,
        ciphertext: &Ciphertext,
        associated_data: Option<&AssociatedData>,
    ) -> Option<Remembered> {
        self.with(|running| {
            let id = entry_id(key, ciphertext, associated_data);
            running.store.has(&id).then_some(Remembered(id))
        })?
    }

    /// Until when Vault may take to answer a call before the cache does.
    pub(super) fn vaults_deadline(&self, now: Instant, deadline: Instant) -> Instant {
        let is_away = self.with(|running| running.serving.is_some());
        let time = match is_away {
            Some(true) => VAULTS_TIME_WHEN_AWAY,
            _ => VAULTS_TIME,
        };
        let left = deadline.saturating_duration_since(now);
        now + (left / VAULTS_PART).min(time)
    }

    /// The seed of an entry, because the attempt through Vault failed like this.
    pub(super) fn answer(&self, of: &Remembered, error: &KeyError) -> Option<Plaintext> {
        let seed = self.with(|running| {
            let opened = running.store.open(&of.0, running.max_age, since_boot());
            match opened {
                Ok(seed) => {
                    running.answered(error);
                    Some(seed)
                }
                Err(miss) => {
                    tracing::debug!(?miss, "not answered from the seed cache");
                    if miss == Miss::TooOld {
                        running.expire();
                    }
                    None
                }
            }
        })??;
        self.0.metrics.seed_cache_hit();
        Some(seed)
    }
}

impl Running {
    /// Vault failed, and a seed was answered.
    fn answered(&mut self, error: &KeyError) {
        let now = Instant::now();
        if let Some(serving) = &mut self.serving {
            serving.answered += 1;
            return;
        }
        let suppressed = self.throttle.allow(false, now);
        self.serving = Some(Serving {
            since: now,
            answered: 1,
            logged: suppressed.is_some(),
        });
        if let Some(suppressed) = suppressed {
            events::SeedCacheServing {
                reason_code: error.reason.code(),
                error: error.to_string(),
                entries: self.store.len(),
                suppressed,
            }
            .emit();
        }
    }

    /// Vault did something: the cache is not needed any more.
    fn vault_answers(&mut self) {
        let Some(serving) = self.serving.take() else {
            return;
        };
        if serving.logged {
            let lasted = Duration::from_secs(serving.since.elapsed().as_secs());
            events::SeedCacheIdle {
                answered: serving.answered,
                lasted: humantime::format_duration(lasted).to_string(),
            }
            .emit();
        }
    }

    fn expire(&mut self) {
        let entries = self.store.expire(self.max_age, since_boot());
        log_wiped(
            entries,
            "outage.max_age has passed since vault last answered",
        );
    }

    fn wipe(&mut self, why: &'static str) {
        self.serving = None;
        log_wiped(self.store.wipe(), why);
    }
}

fn log_wiped(entries: usize, why: &'static str) {
    if entries > 0 {
        events::SeedCacheWiped { entries, why }.emit();
    }
}
