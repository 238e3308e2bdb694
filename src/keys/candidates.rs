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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::*;
    use crate::keys::bound::{Annotations, BoundLabels};
    use crate::keys::tests::{key_named, stamp};
    use crate::telemetry::spans::Parent;
    use crate::vault::Ciphertext;

    /// The keys `write` and `old`, and one that another plugin bound to its labels.
    fn readers(with_bound: bool) -> Readers {
        let labels = BoundLabels {
            provider_name: "p".to_owned(),
            cluster_id: "c".to_owned(),
            instance_id: "i".to_owned(),
        };
        let bound = BoundKey {
            key: key_named("bound"),
            labels,
            table: "transit.decrypt_also.0".to_owned(),
        };
        Readers {
            unbound: ["write", "old"]
                .map(|name| Arc::new(key_named(name)))
                .into(),
            bound: with_bound
                .then(|| (Arc::new(bound.key.clone()), bound))
                .into_iter()
                .collect(),
        }
    }

    fn call(key_id: Option<String>, annotation: Option<&str>) -> DecryptCall {
        let ciphertext = Ciphertext::try_new(b"vault:v1:AAAA".to_vec()).expect("a ciphertext");
        let annotations: Option<Annotations> =
            annotation.map(|name| HashMap::from([(name.to_owned(), vec![1])]));
        DecryptCall {
            ciphertext: Arc::new(ciphertext),
            key_id,
            annotations: annotations.map(Arc::new),
            deadline: Instant::now(),
            parent: Parent::NOBODY,
            reply: oneshot::channel().0,
        }
    }

    fn key_id(name: &str) -> Option<String> {
        Some(
            KeyId::new(&key_named(name), stamp(7, 1))
                .as_str()
                .to_owned(),
        )
    }

    /// The names of the keys that are asked, and whether with the associated data of a local KEK.
    fn asked(readers: &Readers, call: &DecryptCall) -> Vec<(String, bool)> {
        let choice = readers.choose(call).expect("a choice");
        let candidates = choice.candidates().iter();
        let local = Some(local_kek::associated_data());
        candidates
            .map(|it| (it.key.name.as_str().to_owned(), it.associated_data == local))
            .collect()
    }

    #[test]
    fn the_key_that_a_key_id_names_is_asked_alone_and_without_such_a_key_all_are() {
        let all = ["write", "old"].map(|name| (name.to_owned(), false));
        for with_bound in [false, true] {
            let readers = readers(with_bound);
            for name in ["write", "old"] {
                let asked = asked(&readers, &call(key_id(name), None));
                assert_eq!(asked, [(name.to_owned(), false)]);
            }
            for unknown in [None, key_id("third"), Some("1".to_owned())] {
                assert_eq!(asked(&readers, &call(unknown, None)), all);
            }
        }
    }

    #[test]
    fn only_a_value_with_a_sealed_seed_is_asked_for_with_the_associated_data_of_a_local_kek() {
        let readers = readers(false);
        let local = call(key_id("old"), Some(local_kek::ANNOTATION));
        assert_eq!(asked(&readers, &local), [("old".to_owned(), true)]);
        let other = call(key_id("old"), Some("another.example"));
        assert_eq!(asked(&readers, &other), [("old".to_owned(), false)]);
    }

    #[test]
    fn a_value_that_is_bound_to_labels_is_never_asked_for_without_them() {
        for of_that_plugin in [
            call(Some("obk2.x".to_owned()), None),
            call(None, Some("key-id-hash.kms.openbao.org")),
        ] {
            let error = readers(true)
                .choose(&of_that_plugin)
                .expect_err("no labels");
            assert_eq!(error.reason, crate::reason::Reason::CiphertextUnreadable);
            // Without such a key Vault says what it is not.
            assert!(readers(false).choose(&of_that_plugin).is_ok());
        }
    }
}
