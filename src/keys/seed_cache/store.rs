//! What the cache holds, as decisions without I/O: which seed may be answered, and for how long. Times are
//! parameters.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::entry_id::EntryId;
use super::seal::{Sealed, Sealer};
use crate::diagnosis::Diagnosis;
use crate::vault::{Plaintext, TransitKey};

/// A cluster has a seed for each start of a kube-apiserver, and keeps few of them. Under KMS v1, where each object
/// has a key of its own, it is the number of objects that can be read. Takes about a megabyte.
pub(super) const MAX_ENTRIES: usize = 4_096;
/// A seed is 32 bytes, as is a key of KMS v1. What is longer is none, and would let a caller fill the memory.
const MAX_SEED_BYTES: usize = 128;

/// Why there is no answer from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Miss {
    /// It is not there.
    Unknown,
    /// The last success through Vault is too long ago.
    TooOld,
    /// Vault refused something, and nothing has succeeded since.
    Suspended,
}

/// What Vault did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::keys) enum Proof {
    /// It encrypted, which says nothing of whether it still decrypts.
    Encrypted,
    /// It decrypted.
    Decrypted,
}

/// The entries, and what is known of their keys.
#[derive(Debug)]
pub(super) struct Store {
    sealer: Sealer,
    entries: HashMap<EntryId, Entry>,
    /// The entries in the order in which Vault confirmed them, the oldest first.
    order: BTreeMap<u64, EntryId>,
    next: u64,
    keys: HashMap<TransitKey, KeyRecord>,
}

#[derive(Debug)]
struct Entry {
    key: TransitKey,
    sealed: Sealed,
    order: u64,
}

/// `last_success`: on the caller's clock.
#[derive(Debug, Default)]
struct KeyRecord {
    last_success: Duration,
    suspended: bool,
}

impl Store {
    /// An empty one with a key of its own.
    pub(super) fn new() -> Result<Self, Diagnosis> {
        Ok(Self {
            sealer: Sealer::new()?,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
            keys: HashMap::new(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// When Vault last did something with any of the keys.
    pub(super) fn last_success(&self) -> Option<Duration> {
        self.keys.values().map(|record| record.last_success).max()
    }

    /// Keeps a seed that Vault encrypted or decrypted at `now`.
    pub(super) fn keep(
        &mut self,
        key: &TransitKey,
        id: EntryId,
        seed: &Plaintext,
        proof: Proof,
        now: Duration,
    ) {
        self.succeeded(key, proof, now);
        if seed.expose_secret().len() > MAX_SEED_BYTES {
            return;
        }
        let order = self.next;
        self.next += 1;
        if let Some(entry) = self.entries.get_mut(&id) {
            self.order.remove(&entry.order);
            entry.order = order;
            self.order.insert(order, id);
            return;
        }
        let Some(sealed) = self.sealer.seal(&id, seed) else {
            return;
        };
        let entry = Entry {
            key: key.clone(),
            sealed,
            order,
        };
        self.entries.insert(id, entry);
        self.order.insert(order, id);
        if self.entries.len() > MAX_ENTRIES
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
    }

    /// Vault did something with this key.
    pub(super) fn succeeded(&mut self, key: &TransitKey, proof: Proof, now: Duration) {
        if !self.keys.contains_key(key) {
            self.keys.insert(key.clone(), KeyRecord::default());
        }
        if let Some(record) = self.keys.get_mut(key) {
            record.last_success = now;
            record.suspended &= proof != Proof::Decrypted;
        }
    }

    /// Vault refused something: nothing is answered until it does something with this key again.
    pub(super) fn suspend(&mut self, key: &TransitKey) {
        if let Some(record) = self.keys.get_mut(key) {
            record.suspended = true;
        }
    }

    /// The same for every key.
    pub(super) fn suspend_all(&mut self) {
        for record in self.keys.values_mut() {
            record.suspended = true;
        }
    }

    /// Whether there is such an entry.
    pub(super) fn has(&self, id: &EntryId) -> bool {
        self.entries.contains_key(id)
    }

    /// The seed of an entry.
    pub(super) fn open(
        &self,
        id: &EntryId,
        max_age: Duration,
        now: Duration,
    ) -> Result<Plaintext, Miss> {
        let entry = self.entries.get(id).ok_or(Miss::Unknown)?;
        let record = self.keys.get(&entry.key).ok_or(Miss::Unknown)?;
        if record.suspended {
            return Err(Miss::Suspended);
        }
        if record.is_over(max_age, now) {
            return Err(Miss::TooOld);
        }
        self.sealer.open(id, &entry.sealed).ok_or(Miss::Unknown)
    }

    /// Forgets what may not be answered any more. Returns how many entries that were.
    pub(super) fn expire(&mut self, max_age: Duration, now: Duration) -> usize {
        let over = |(key, record): (&TransitKey, &KeyRecord)| {
            record.is_over(max_age, now).then(|| key.clone())
        };
        let over: HashSet<_> = self.keys.iter().filter_map(over).collect();
        if over.is_empty() {
            return 0;
        }
        self.forget_where(|key| over.contains(key))
    }

    /// Forgets the seeds of one key. Returns how many.
    pub(super) fn forget(&mut self, key: &TransitKey) -> usize {
        self.forget_where(|it| it == key)
    }

    fn forget_where(&mut self, is_gone: impl Fn(&TransitKey) -> bool) -> usize {
        let before = self.entries.len();
        let order = &mut self.order;
        self.entries.retain(|_, entry| {
            let stays = !is_gone(&entry.key);
            if !stays {
                order.remove(&entry.order);
            }
            stays
        });
        before - self.entries.len()
    }

    /// Forgets everything; the key that it was sealed under too. Returns how many entries there were.
    pub(super) fn wipe(&mut self) -> usize {
        let count = self.entries.len();
        self.entries = HashMap::new();
        self.order = BTreeMap::new();
        self.keys = HashMap::new();
        // Without random numbers there is no key, and nothing can be sealed or opened: as intended.
        let _ = self.sealer.renew();
        count
    }
}

impl KeyRecord {
    fn is_over(&self, max_age: Duration, now: Duration) -> bool {
        now.saturating_sub(self.last_success) >= max_age
    }
}

#[cfg(test)]
mod tests;
