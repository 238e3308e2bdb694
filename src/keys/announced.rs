//! The key_ids that were announced here, and what their history says of one.

use std::collections::VecDeque;

use super::key_id::KeyId;
use crate::vault::TransitKey;

/// How many are remembered.
const MAX: usize = 64;

/// By any process, of whatever key, each once, the latest last.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct AnnouncedKeyIds(VecDeque<KeyId>);

impl AnnouncedKeyIds {
    /// Adds one.
    pub(super) fn add(&mut self, key_id: &KeyId) {
        self.0.retain(|it| it != key_id);
        self.0.push_back(key_id.clone());
        if self.0.len() > MAX {
            self.0.pop_front();
        }
    }

    /// The latest, if this one was announced before it and would return with its next announcement.
    #[must_use]
    pub fn returns_after(&self, key_id: &KeyId) -> Option<&KeyId> {
        let last = self.last().filter(|last| *last != key_id)?;
        self.0.contains(key_id).then_some(last)
    }

    /// The latest of this key that Vault does not decrypt any more.
    #[must_use]
    pub fn below_minimum(&self, key: &TransitKey, min_decryption_version: u32) -> Option<&KeyId> {
        let is_below = |key_id: &&KeyId| {
            let version = key_id.version_of(key);
            version.is_some_and(|version| version < min_decryption_version)
        };
        self.0.iter().rev().find(is_below)
    }

    /// The latest whose key is none of these, so that nothing it wrote can be decrypted.
    #[must_use]
    pub fn of_no_key(&self, keys: &[&TransitKey]) -> Option<&KeyId> {
        let is_known = |key_id: &&KeyId| keys.iter().any(|key| KeyId::names(key_id.as_str(), key));
        self.0.iter().rev().find(|key_id| !is_known(key_id))
    }

    /// The latest.
    pub(super) fn last(&self) -> Option<&KeyId> {
        self.0.back()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &KeyId> {
        self.0.iter()
    }
}

impl FromIterator<KeyId> for AnnouncedKeyIds {
    fn from_iter<I: IntoIterator<Item = KeyId>>(key_ids: I) -> Self {
        let mut announced = Self::default();
        for key_id in key_ids {
            announced.add(&key_id);
        }
        announced
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::tests::{key, key_named, proven};

    fn id(number: u32) -> KeyId {
        proven(100, number).key_id
    }

    #[test]
    fn a_key_that_was_announced_and_is_configured_no_more_is_noticed() {
        let announced: AnnouncedKeyIds = [id(1), id(2)].into_iter().collect();
        assert_eq!(announced.of_no_key(&[&key()]), None);
        assert_eq!(announced.of_no_key(&[&key_named("other")]), Some(&id(2)));
        assert_eq!(announced.of_no_key(&[&key_named("other"), &key()]), None);
    }

    #[test]
    fn a_key_id_that_returns_after_another_one_is_noticed() {
        let mut announced = AnnouncedKeyIds::default();
        assert_eq!(announced.returns_after(&id(1)), None);
        announced.add(&id(1));
        assert_eq!(
            announced.returns_after(&id(1)),
            None,
            "it is the same still"
        );
        announced.add(&id(2));
        assert_eq!(announced.returns_after(&id(1)), Some(&id(2)));
        announced.add(&id(1));
        assert_eq!(announced.returns_after(&id(1)), None);
        assert_eq!(announced.returns_after(&id(2)), Some(&id(1)));
        for number in 3..200 {
            announced.add(&id(number));
        }
        assert_eq!(announced.iter().count(), MAX);
        assert_eq!(announced.last(), Some(&id(199)));
    }

    #[test]
    fn an_announced_version_below_the_minimum_is_found() {
        let announced: AnnouncedKeyIds = [1, 2, 3].map(id).into_iter().collect();
        assert_eq!(announced.below_minimum(&key(), 0), None);
        assert_eq!(announced.below_minimum(&key(), 3), Some(&id(2)));
        assert_eq!(announced.below_minimum(&key_named("other"), 3), None);
    }
}
