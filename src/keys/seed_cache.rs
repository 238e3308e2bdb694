//! The seed cache (`outage.seed_cache`): what Vault encrypted or decrypted is kept, sealed, so that a Decrypt has
//! an answer while Vault is away.
//!
//! It belongs to the backend and not to the KeyManager, whose crash says nothing against the seeds; a reload that
//! changes Vault, the login or the keys begins with an empty one. A revocation ends it: see [`SeedCache::wipe`].

mod entry_id;
mod running;
mod seal;
mod settings;
mod spare;
mod store;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::error::KeyError;
use super::view::ProvenKey;
use crate::diagnosis::Diagnosis;
use crate::system::clock::since_boot;
use crate::telemetry::metrics::Metrics;
use crate::vault::{AssociatedData, Ciphertext, Plaintext, TransitKey};
use entry_id::{EntryId, entry_id};
use running::{Running, log_wiped};
pub use settings::SeedCacheSettings;
use spare::{LocallySealed, Spare};
use store::Miss;
pub(super) use store::Proof;

/// Which part of a caller's time Vault has before the cache answers …
const VAULTS_PART: u32 = 3;
/// … but no longer than this: kube-apiserver decrypts the seeds of a list one after the other, in a minute.
const VAULTS_TIME: Duration = Duration::from_secs(1);
/// The same once Vault is known to be away: it is still asked first, each time.
const VAULTS_TIME_WHEN_AWAY: Duration = Duration::from_millis(100);
/// Which part of a caller's time Vault has before a local KEK seals.
const VAULTS_PART_OF_ENCRYPT: u32 = 2;
/// A handle on the cache, which may be off: then it holds nothing, and costs a look at a flag.
#[derive(Debug, Clone)]
pub struct SeedCache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    is_on: AtomicBool,
    running: Mutex<Option<Running>>,
    metrics: Metrics,
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
    /// Whether a local KEK is ready; `None` if `outage.local_kek` is off.
    pub local_kek: Option<bool>,
}

impl SeedCache {
    /// Off, or with a locked page of its own.
    ///
    /// # Errors
    /// If the kernel gives no locked page.
    pub fn new(settings: Option<SeedCacheSettings>, metrics: Metrics) -> Result<Self, Diagnosis> {
        let cache = Self(Arc::new(Shared {
            is_on: AtomicBool::new(false),
            running: Mutex::new(None),
            metrics,
        }));
        cache.set(settings)?;
        Ok(cache)
    }

    /// Switches it on or off, or changes what it keeps, and for how long. Off wipes it.
    ///
    /// # Errors
    /// If the kernel gives no locked page; it stays as it was then.
    pub fn set(&self, settings: Option<SeedCacheSettings>) -> Result<(), Diagnosis> {
        let Some(settings) = settings else {
            self.close("it was switched off");
            return Ok(());
        };
        let mut running = self.lock();
        match &mut *running {
            Some(running) => running.change(settings),
            None => *running = Some(Running::start(settings)?),
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
            local_kek: running.kek_state(),
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
        let time = if self.is_serving() {
            VAULTS_TIME_WHEN_AWAY
        } else {
            VAULTS_TIME
        };
        let left = deadline.saturating_duration_since(now);
        now + (left / VAULTS_PART).min(time)
    }

    /// The same before a local KEK seals: longer, so that an election of a leader leaves no trace in etcd.
    pub(super) fn vaults_deadline_to_encrypt(&self, now: Instant, deadline: Instant) -> Instant {
        if self.is_serving() {
            return self.vaults_deadline(now, deadline);
        }
        now + deadline.saturating_duration_since(now) / VAULTS_PART_OF_ENCRYPT
    }

    fn is_serving(&self) -> bool {
        let is_serving = self.with(|running| running.serving.is_some());
        is_serving.unwrap_or(false)
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

/// For the KeyManager: the local KEK.
impl SeedCache {
    /// Whether a KEK has to be wrapped for this version: there is none, or an outage used it.
    pub(super) fn needs_kek(&self, proven: &ProvenKey) -> bool {
        let needs = self.with(|running| running.needs_kek(proven));
        needs.unwrap_or(false)
    }

    /// Keeps a KEK that Vault wrapped and unwrapped just now.
    pub(super) fn keep_kek(
        &self,
        key: &TransitKey,
        proven: ProvenKey,
        wrapped: Ciphertext,
        kek: &Plaintext,
    ) {
        let spare = Spare::new(key, proven, wrapped);
        self.with(|running| running.keep_kek(key, spare, kek));
    }

    /// Vault wrapped none.
    pub(super) fn no_kek(&self, error: &KeyError) {
        self.with(|running| running.no_kek(error));
    }

    /// Whether there is a KEK for this version.
    pub(super) fn has_kek(&self, pinned: &ProvenKey) -> bool {
        let has = self.with(|running| running.has_kek(pinned));
        has.unwrap_or(false)
    }

    /// Seals a seed under the KEK of this version, because the Encrypt through Vault failed like this.
    pub(super) fn seal(
        &self,
        pinned: &ProvenKey,
        seed: &Plaintext,
        error: &KeyError,
    ) -> Option<LocallySealed> {
        let made = self.with(|running| running.seal(pinned, seed, error))??;
        self.0.metrics.local_kek_encrypt();
        Some(made)
    }
}

#[cfg(test)]
mod tests;
