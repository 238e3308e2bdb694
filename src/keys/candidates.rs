//! Which of the configured keys can have made a ciphertext.

use std::sync::Arc;

use super::bound::{self, BoundKey, CarriedLabels};
use super::error::KeyError;
use super::key_id::KeyId;
use super::local_kek;
use super::message::DecryptCall;
use super::operations::Candidate;
use crate::vault::TransitKey;

/// The keys that decrypt.
#[derive(Debug)]
pub(super) struct Readers {
    /// Those that decrypt what is bound to nothing, the writing one first.
    pub(super) unbound: Arc<[Arc<TransitKey>]>,
    /// Those that decrypt what another plugin bound to its labels.
    pub(super) bound: Vec<(Arc<TransitKey>, BoundKey)>,
}

/// Who is asked.
#[derive(Debug)]
pub(super) enum Choice {
    /// The one key that can have made it.
    One(Candidate),
    /// One of these made it, or none.
    Any(Vec<Candidate>),
}

impl Choice {
    /// All that are asked.
    pub(super) fn candidates(&self) -> &[Candidate] {
        match self {
            Self::One(candidate) => std::slice::from_ref(candidate),
            Self::Any(candidates) => candidates,
        }
    }
}

impl Readers {
    /// Who decrypts for this call: what is bound to labels, the keys that are configured with labels alone.
    ///
    /// # Errors
    /// If what it is bound to cannot be rebuilt.
    pub(super) fn choose(&self, call: &DecryptCall) -> Result<Choice, KeyError> {
        let key_id = call.key_id.as_deref();
        if !self.bound.is_empty() && bound::is_bound(key_id, call.annotations.as_deref()) {
            return self.choose_bound(call);
        }
        let is_local = local_kek::sealed(call.annotations.as_deref()).is_some();
        let unbound = |key: &Arc<TransitKey>| Candidate {
            key: key.clone(),
            associated_data: is_local.then(local_kek::associated_data),
        };
        let named = key_id.and_then(|key_id| {
            let mut readers = self.unbound.iter();
            readers.find(|key| KeyId::names(key_id, key)).map(unbound)
        });
        Ok(match named {
            Some(candidate) => Choice::One(candidate),
            None => Choice::Any(self.unbound.iter().map(unbound).collect()),
        })
    }

    fn choose_bound(&self, call: &DecryptCall) -> Result<Choice, KeyError> {
        let annotations = call.annotations.as_deref();
        let version = call.ciphertext.version();
        let carried = CarriedLabels::read(call.key_id.as_deref(), annotations, version);
        let carried = carried.map_err(|cause| {
            let keys: Vec<_> = self.bound.iter().map(|(_, key)| key.clone()).collect();
            KeyError::of_bound_value(&bound::named(&keys), &cause)
        })?;
        let keys = self.bound.iter();
        let mut candidates: Vec<_> = keys
            .map(|(key, bound)| Candidate {
                key: key.clone(),
                associated_data: Some(bound.labels.associated_data(&carried)),
            })
            .collect();
        Ok(match candidates.pop() {
            Some(only) if candidates.is_empty() => Choice::One(only),
            last => {
                candidates.extend(last);
                Choice::Any(candidates)
            }
        })
    }
}
