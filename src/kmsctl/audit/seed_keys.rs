//! The keys that may unwrap a seed: which of them are asked, in which order, and with which associated data.

use std::collections::BTreeMap;

use super::tally::{SeedHash, seed_hash};
use crate::diagnosis::Diagnosis;
use crate::keys::{
    Annotations, BoundLabels, CarriedLabels, KeyError, KeyIdParts, Settings, is_bound, kek_data,
    named_bound_keys, open_sealed, sealed_seed,
};
use crate::vault::{AssociatedData, Ciphertext, Plaintext, TransitKey};

/// A seed that is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The wrapped seed.
    pub(super) wrapped: &'a [u8],
    /// The key_id, if the value has one: it may name the key.
    pub(super) key_id: Option<&'a str>,
    /// The annotations, under KMS v2.
    pub(super) annotations: Option<&'a BTreeMap<String, Vec<u8>>>,
}

/// A key.
#[derive(Debug, Clone)]
pub(super) struct SeedKey {
    /// The key.
    pub(super) key: TransitKey,
    labels: Option<BoundLabels>,
}

/// A wrapped seed, and what it is bound to.
#[derive(Debug)]
pub(super) struct WrappedSeed {
    /// What Transit made of it.
    pub(super) ciphertext: Ciphertext,
    bound: Binding,
}

/// What a wrapped seed is bound to.
#[derive(Debug)]
enum Binding {
    Nothing,
    Labels(CarriedLabels),
    /// It is a local KEK, under which this is sealed.
    LocalKek(Vec<u8>),
}

/// All keys of a configuration, the writing one first.
#[derive(Debug)]
pub(super) struct SeedKeys {
    keys: Vec<SeedKey>,
    /// The bound ones, as an error names them; empty if there is none.
    bound: String,
}

impl Wanted<'_> {
    /// What tells seeds apart. What is bound differs with its labels too.
    pub(super) fn hash(&self) -> SeedHash {
        let annotations = self.annotations();
        let is_local = sealed_seed(annotations.as_ref()).is_some();
        if !is_local && !is_bound(self.key_id, annotations.as_ref()) {
            return seed_hash(self.wrapped);
        }
        let mut all = self.wrapped.to_vec();
        all.extend(self.key_id.unwrap_or_default().as_bytes());
        for (name, value) in self.annotations.into_iter().flatten() {
            for part in [name.as_bytes(), value] {
                all.extend(part.len().to_be_bytes());
                all.extend(part);
            }
        }
        seed_hash(&all)
    }

    fn annotations(&self) -> Option<Annotations> {
        let all = self.annotations.filter(|all| !all.is_empty())?;
        Some(all.clone().into_iter().collect())
    }
}

impl SeedKey {
    /// The associated data with which this key would have encrypted it.
    pub(super) fn associated_data(&self, seed: &WrappedSeed) -> Option<AssociatedData> {
        match (&seed.bound, &self.labels) {
            (Binding::Labels(carried), Some(own)) => Some(own.associated_data(carried)),
            (Binding::LocalKek(_), None) => Some(kek_data()),
            _ => None,
        }
    }

    /// Whether its values are bound to labels.
    pub(super) fn is_bound(&self) -> bool {
        self.labels.is_some()
    }
}

impl WrappedSeed {
    /// The seed, from what Vault unwrapped: that, unless it is a local KEK.
    ///
    /// # Errors
    /// If the seed is not one that this KEK sealed.
    pub(super) fn seed(&self, unwrapped: Plaintext) -> Result<Plaintext, Diagnosis> {
        let Binding::LocalKek(sealed) = &self.bound else {
            return Ok(unwrapped);
        };
        open_sealed(&unwrapped, &self.ciphertext, sealed).ok_or_else(|| {
            let KeyError { cause, remedy, .. } = KeyError::of_sealed_seed();
            Diagnosis { cause, remedy }
        })
    }
}

impl SeedKeys {
    /// Those of the daemon's configuration.
    pub(super) fn of(settings: &Settings) -> Self {
        let plain = std::iter::once(&settings.key).chain(&settings.decrypt_also);
        let plain = plain.map(|key| SeedKey {
            key: key.clone(),
            labels: None,
        });
        let bound = settings.bound.iter().map(|bound| SeedKey {
            key: bound.key.clone(),
            labels: Some(bound.labels.clone()),
        });
        Self {
            keys: plain.chain(bound).collect(),
            bound: named_bound_keys(&settings.bound),
        }
    }

    /// The key at this position of an order.
    pub(super) fn get(&self, index: usize) -> Option<&SeedKey> {
        self.keys.get(index)
    }

    /// The positions of the keys that may unwrap it, the likeliest first, and the seed itself.
    ///
    /// # Errors
    /// If it is bound to labels that cannot be rebuilt.
    pub(super) fn order(
        &self,
        wanted: &Wanted<'_>,
        ciphertext: Ciphertext,
    ) -> Result<(Vec<usize>, WrappedSeed), Diagnosis> {
        let annotations = wanted.annotations();
        let is_bound = !self.bound.is_empty() && is_bound(wanted.key_id, annotations.as_ref());
        let bound = if is_bound {
            let version = ciphertext.version();
            let read = CarriedLabels::read(wanted.key_id, annotations.as_ref(), version);
            Binding::Labels(read.map_err(|cause| {
                let KeyError { cause, remedy, .. } = KeyError::of_bound_value(&self.bound, &cause);
                Diagnosis { cause, remedy }
            })?)
        } else if let Some(sealed) = sealed_seed(annotations.as_ref()) {
            Binding::LocalKek(sealed.to_vec())
        } else {
            Binding::Nothing
        };
        let mut order: Vec<_> = (0..self.keys.len())
            .filter(|index| self.keys[*index].is_bound() == is_bound)
            .collect();
        let parts = wanted.key_id.and_then(KeyIdParts::parse);
        let is_named = |index: &usize| {
            let key = &self.keys[*index].key;
            parts.as_ref().is_some_and(|parts| {
                key.namespace.as_str() == parts.namespace
                    && key.mount.as_str() == parts.mount
                    && key.name.as_str() == parts.key
            })
        };
        if let Some(position) = order.iter().position(is_named) {
            order.swap(0, position);
        }
        Ok((order, WrappedSeed { ciphertext, bound }))
    }
}
