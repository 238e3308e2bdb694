//! The local KEK that is ready: wrapped by Vault while that answered, for the version that Status announces next.

use super::entry_id::{EntryId, entry_id};
use super::store::Store;
use crate::keys::local_kek;
use crate::keys::view::ProvenKey;
use crate::vault::{Ciphertext, Plaintext, TransitKey};

/// A random nonce is safe for far more.
const MAX_USES: u32 = 1 << 20;

/// A wrapped KEK. The KEK itself is an entry of the store.
#[derive(Debug)]
pub(super) struct Spare {
    proven: ProvenKey,
    wrapped: Ciphertext,
    entry: EntryId,
    uses: u32,
}

/// A seed that is sealed under a local KEK.
#[derive(Debug)]
pub(in crate::keys) struct LocallySealed {
    /// The wrapped KEK.
    pub(in crate::keys) wrapped: Ciphertext,
    /// The value of the annotation.
    pub(in crate::keys) sealed: Vec<u8>,
}

impl Spare {
    /// One that this version of the key wrapped.
    pub(super) fn new(key: &TransitKey, proven: ProvenKey, wrapped: Ciphertext) -> Self {
        let data = local_kek::associated_data();
        Self {
            entry: entry_id(key, &wrapped, Some(&data)),
            proven,
            wrapped,
            uses: 0,
        }
    }

    /// Where the KEK is in the store.
    pub(super) fn entry(&self) -> &EntryId {
        &self.entry
    }

    /// Whether an outage used it.
    pub(super) fn was_used(&self) -> bool {
        self.uses > 0
    }

    /// Whether the store still has the KEK.
    pub(super) fn is_kept(&self, store: &Store) -> bool {
        self.uses < MAX_USES && store.has(&self.entry)
    }

    /// Whether it can seal for this version.
    pub(super) fn is_ready(&self, of: &ProvenKey, store: &Store) -> bool {
        self.proven == *of && self.is_kept(store)
    }

    /// Seals a seed under it.
    pub(super) fn seal(&mut self, kek: &Plaintext, seed: &Plaintext) -> Option<LocallySealed> {
        let sealed = local_kek::seal(kek, &self.wrapped, seed)?;
        self.uses += 1;
        Some(LocallySealed {
            wrapped: self.wrapped.clone(),
            sealed,
        })
    }
}
