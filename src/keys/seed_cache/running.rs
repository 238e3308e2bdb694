//! The seed cache while it is on: what it holds, whether it answers now, and what is logged of that.

use std::time::Duration;

use tokio::time::Instant;

use super::settings::SeedCacheSettings;
use super::spare::{LocallySealed, Spare};
use super::store::{Proof, Store};
use crate::diagnosis::Diagnosis;
use crate::keys::error::KeyError;
use crate::keys::view::ProvenKey;
use crate::system::clock::since_boot;
use crate::telemetry::LogThrottle;
use crate::telemetry::events;
use crate::vault::{Plaintext, TransitKey};

/// From one line to the next where Vault comes and goes.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// What the cache is while it is on.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) store: Store,
    pub(super) max_age: Duration,
    /// Whether a local KEK is wanted.
    local_kek: bool,
    spare: Option<Spare>,
    /// Why there is none, as it was logged.
    kek_error: Option<String>,
    /// Since Vault failed and the cache answered, until Vault succeeds.
    pub(super) serving: Option<Serving>,
    throttle: LogThrottle,
}

/// An outage in which it answers.
#[derive(Debug)]
pub(super) struct Serving {
    since: Instant,
    answered: u64,
    /// Whether its begin was logged.
    logged: bool,
}

impl Running {
    /// With a locked page of its own.
    ///
    /// # Errors
    /// If the kernel gives none.
    pub(super) fn start(settings: SeedCacheSettings) -> Result<Self, Diagnosis> {
        Ok(Self {
            store: Store::new().map_err(|it| it.about("outage.seed_cache"))?,
            max_age: settings.max_age,
            local_kek: settings.local_kek,
            spare: None,
            kek_error: None,
            serving: None,
            throttle: LogThrottle::new(LINE_INTERVAL),
        })
    }

    /// Keeps other things from now on, or for another time.
    pub(super) fn change(&mut self, settings: SeedCacheSettings) {
        self.max_age = settings.max_age;
        self.local_kek = settings.local_kek;
        if !self.local_kek {
            self.spare = None;
        }
    }

    /// Vault failed, and a seed was answered.
    pub(super) fn answered(&mut self, error: &KeyError) {
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
    pub(super) fn vault_answers(&mut self) {
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

    /// Forgets what is too old to be answered.
    pub(super) fn expire(&mut self) {
        let entries = self.store.expire(self.max_age, since_boot());
        log_wiped(
            entries,
            "outage.max_age has passed since vault last answered",
        );
    }

    /// Forgets every seed, and the key that they were sealed under.
    pub(super) fn wipe(&mut self, why: &'static str) {
        self.serving = None;
        self.spare = None;
        log_wiped(self.store.wipe(), why);
    }
}

/// The local KEK.
impl Running {
    /// Whether one has to be wrapped for this version: there is none, or an outage used it.
    pub(super) fn needs_kek(&self, proven: &ProvenKey) -> bool {
        let is_fresh = |spare: &Spare| !spare.was_used() && spare.is_ready(proven, &self.store);
        self.local_kek && !self.spare.as_ref().is_some_and(is_fresh)
    }

    /// Whether there is one for this version.
    pub(super) fn has_kek(&self, pinned: &ProvenKey) -> bool {
        let spare = self.spare.as_ref();
        spare.is_some_and(|spare| spare.is_ready(pinned, &self.store))
    }

    /// Whether one could be used now; `None` if it is switched off.
    pub(super) fn kek_state(&self) -> Option<bool> {
        let is_kept = |spare: &Spare| spare.is_kept(&self.store);
        self.local_kek
            .then(|| self.spare.as_ref().is_some_and(is_kept))
    }

    /// Takes this one for the next outage. The KEK itself is kept as a seed is.
    pub(super) fn keep_kek(&mut self, key: &TransitKey, spare: Spare, kek: &Plaintext) {
        let now = since_boot();
        self.store
            .keep(key, *spare.entry(), kek, Proof::Decrypted, now);
        self.kek_error = None;
        self.spare = Some(spare);
    }

    /// Vault wrapped none: logged once for each reason.
    pub(super) fn no_kek(&mut self, error: &KeyError) {
        let text = error.to_string();
        if self.kek_error.as_ref() != Some(&text) {
            self.kek_error = Some(text.clone());
            events::NoLocalKek { error: text }.emit();
        }
    }

    /// Seals a seed under the KEK of this version, because the Encrypt through Vault failed like this.
    pub(super) fn seal(
        &mut self,
        pinned: &ProvenKey,
        seed: &Plaintext,
        error: &KeyError,
    ) -> Option<LocallySealed> {
        let spare = self.spare.as_mut()?;
        if !spare.is_ready(pinned, &self.store) {
            return None;
        }
        let kek = self
            .store
            .open(spare.entry(), self.max_age, since_boot())
            .inspect_err(|miss| tracing::debug!(?miss, "not encrypted under the local KEK"));
        let made = spare.seal(&kek.ok()?, seed)?;
        self.answered(error);
        events::EncryptedLocally {
            key_id: pinned.key_id.to_string(),
            error: error.to_string(),
        }
        .emit();
        Some(made)
    }
}

/// Logs that so many seeds are gone.
pub(super) fn log_wiped(entries: usize, why: &'static str) {
    if entries > 0 {
        events::SeedCacheWiped { entries, why }.emit();
    }
}

#[cfg(test)]
mod tests;
