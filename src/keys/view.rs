//! What is known of the key: the snapshot that the KeyManager publishes.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use super::announced::AnnouncedKeyIds;
use super::error::KeyError;
use super::key_id::KeyId;
use crate::sha256::sha256;
use crate::system::clock::Moment;
use crate::vault::{Ciphertext, KeyVersion, VersionStamp};

/// How many announced versions are remembered.
const MAX_ANNOUNCED: usize = 64;

/// The snapshot. The Supervisor owns its sender, so that what was announced outlives the actor.
#[derive(Debug, Default, Clone)]
pub struct KeyView {
    /// What Status said last; what an Encrypt under KMS v2 uses.
    pub announced: Option<ProvenKey>,
    /// The latest version that was seen to work; announced by the next Status.
    pub proven: Option<ProvenKey>,
    /// What was announced for this key, the latest last. A connection may go on with what its
    /// last Status returned only as long as that is in here: after a replaced key was accepted,
    /// an earlier version has nothing to do with the key any more.
    pub(super) announced_before: VecDeque<ProvenKey>,
    /// The key_ids that any process announced here.
    pub(super) key_ids: AnnouncedKeyIds,
    /// The key_id whose acceptance as a replacement a later version followed.
    pub(super) used_acceptance: Option<String>,
    /// Versions of the key below it are not decrypted by Vault.
    pub(super) min_decryption_version: u32,
    /// Whether a refresh of this process has ended: before that, a key that was replaced while no
    /// process ran is not known yet.
    pub(super) is_refreshed: bool,
    /// Whether this process has answered a Status: under KMS v1 nobody asks for one.
    pub(super) status_asked: bool,
    /// A ciphertext of the proven version and what it has to decrypt to.
    pub(super) canary: Option<Canary>,
    /// When Vault last did what was asked of it.
    pub last_success: Option<Moment>,
    /// When Vault had last done so, if that is known from the state file of an earlier boot only: an
    /// old copy of the file says the same.
    pub(super) unconfirmed_since: Option<Timestamp>,
    /// The version that encrypted last for a caller, and when.
    pub(super) last_encrypted: Option<(KeyVersion, Instant)>,
    /// Why the last refresh failed, until something succeeds.
    pub fault: Option<KeyFault>,
    /// The key_id of a replaced key that the operator accepts, if one is configured.
    pub accepted_replacement: Option<String>,
}

/// A version of the writing key that worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenKey {
    /// Its key_id.
    pub key_id: KeyId,
    /// Its version and creation time.
    pub stamp: VersionStamp,
}

/// What an Encrypt does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pinned {
    /// It uses this version.
    Version(ProvenKey),
    /// It fails.
    Rejected(KeyError),
    /// It waits for the end of the first refresh.
    Later,
}

/// A ciphertext, and the SHA-256 of the random plaintext that it has to decrypt to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Canary {
    pub(super) digest: [u8; 32],
    pub(super) ciphertext: Arc<Ciphertext>,
    pub(super) stamp: VersionStamp,
    /// Whether another key refused it, and it was not decrypted since.
    pub(super) was_refused: bool,
}

/// A failed refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFault {
    /// What happened.
    pub error: KeyError,
    /// Whether it is certain that only an operator can fix it.
    pub verdict: bool,
}

impl Canary {
    /// Whether this is what the canary has to decrypt to.
    pub(super) fn is_plaintext(&self, plaintext: &[u8]) -> bool {
        sha256(plaintext) == self.digest
    }
}

impl KeyView {
    /// The version that an Encrypt of KMS v2 has to use.
    #[must_use]
    pub fn pinned(&self) -> Option<&ProvenKey> {
        self.announced.as_ref().or(self.proven.as_ref())
    }

    /// The version that an Encrypt has to use on a connection where Status last returned `last`.
    pub(super) fn pinned_for(&self, last: Option<ProvenKey>) -> Option<ProvenKey> {
        last.filter(|last| self.announced_before.contains(last))
            .or_else(|| self.pinned().cloned())
    }

    /// What an Encrypt under KMS v2 does now, on a connection where Status last returned `last`.
    pub(super) fn pin(&self, last: Option<ProvenKey>) -> Pinned {
        if let Some(replaced) = self.replaced() {
            return Pinned::Rejected(replaced.clone());
        }
        let pinned = self.pinned_for(last).filter(|_| self.is_refreshed);
        pinned.map_or(Pinned::Later, Pinned::Version)
    }

    /// A refresh succeeded: what is known is what Vault knows. A call that worked does not say that:
    /// any version decrypts, and the earlier one still encrypts.
    pub(super) fn succeeded(&mut self, now: Moment) {
        self.last_success = Some(now);
        self.unconfirmed_since = None;
    }

    /// Forgets what was announced for a key that is gone.
    pub(super) fn forget_announced(&mut self) {
        self.announced = None;
        self.announced_before.clear();
    }

    pub(super) fn remember_announced(&mut self) {
        if let Some(announced) = self.announced.clone() {
            self.announced_before.push_back(announced);
            if self.announced_before.len() > MAX_ANNOUNCED {
                self.announced_before.pop_front();
            }
        }
    }

    /// The version that Encrypts use now, by whichever protocol: once Status was asked, what it
    /// announced, else the proven one.
    #[must_use]
    pub fn writing(&self) -> Option<&ProvenKey> {
        if self.status_asked {
            self.pinned()
        } else {
            self.proven.as_ref().or(self.announced.as_ref())
        }
    }

    /// Takes over what an earlier backend for the same key had found out: what was announced, and a
    /// later version than this one has seen, where it meets a standby that lags.
    pub fn inherit(&mut self, before: &Self) {
        // Versions count up, whatever Vault's clock says.
        let order = |proven: &Option<ProvenKey>| {
            let stamp = proven.as_ref().map(|proven| proven.stamp);
            stamp.map(|stamp| (stamp.version, stamp.created))
        };
        self.announced.clone_from(&before.announced);
        self.announced_before.clone_from(&before.announced_before);
        self.status_asked = before.status_asked;
        self.used_acceptance.clone_from(&before.used_acceptance);
        if order(&self.proven) < order(&before.proven) {
            self.proven.clone_from(&before.proven);
            self.canary.clone_from(&before.canary);
        }
    }

    /// Takes over which key_ids were announced, be it for another key.
    pub fn inherit_key_ids(&mut self, before: &Self) {
        self.key_ids.clone_from(&before.key_ids);
    }

    /// The error that nothing but an operator's action will end.
    #[must_use]
    pub fn verdict(&self) -> Option<&KeyError> {
        let fault = self.fault.as_ref().filter(|fault| fault.verdict);
        fault.map(|fault| &fault.error)
    }

    /// Why the key is taken for a replaced one, be it a verdict or still unconfirmed: nothing is
    /// encrypted with it.
    pub(super) fn replaced(&self) -> Option<&KeyError> {
        let fault = self.fault.as_ref().map(|fault| &fault.error);
        fault.filter(|error| error.is_replaced())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::tests::proven;

    /// A view of a version that was proven, with its canary.
    fn view((created, version): (i64, u32)) -> KeyView {
        let proven = proven(created, version);
        let text = format!("vault:v{}:AAAA", proven.stamp.version.get());
        let ciphertext = Ciphertext::try_new(text.into_bytes()).expect("a ciphertext");
        KeyView {
            canary: Some(Canary {
                digest: [0; 32],
                ciphertext: Arc::new(ciphertext),
                stamp: proven.stamp,
                was_refused: false,
            }),
            proven: Some(proven),
            ..KeyView::default()
        }
    }

    #[test]
    fn the_later_version_is_inherited_whatever_its_creation_time() {
        for (own, before, kept) in [
            ((100, 1), (200, 2), (200, 2)),
            ((100, 1), (50, 2), (50, 2)),
            ((200, 2), (100, 1), (200, 2)),
            ((50, 2), (100, 1), (50, 2)),
            ((100, 2), (200, 2), (200, 2)),
            ((200, 2), (100, 2), (200, 2)),
        ] {
            let mut inheriting = view(own);
            inheriting.inherit(&view(before));
            let kept = proven(kept.0, kept.1);
            let canary = inheriting.canary.map(|canary| canary.stamp);
            assert_eq!(canary, Some(kept.stamp), "{own:?} {before:?}");
            assert_eq!(inheriting.proven, Some(kept), "{own:?} {before:?}");
        }
        let mut unproven = KeyView::default();
        unproven.inherit(&view((100, 1)));
        assert_eq!(unproven.proven, Some(proven(100, 1)));
        let mut inheriting = view((100, 1));
        inheriting.inherit(&KeyView::default());
        assert_eq!(inheriting.proven, Some(proven(100, 1)));
    }

    #[test]
    fn what_was_announced_is_inherited_though_a_later_version_is_proven() {
        let mut before = view((100, 1));
        before.announced.clone_from(&before.proven);
        before.remember_announced();
        before.status_asked = true;
        let mut inheriting = view((200, 2));
        inheriting.inherit(&before);
        assert_eq!(inheriting.pinned(), before.proven.as_ref());
        assert_eq!(inheriting.writing(), before.proven.as_ref());
        assert_eq!(
            inheriting.pinned_for(before.announced.clone()),
            before.announced
        );
        assert_eq!(inheriting.proven, Some(proven(200, 2)));
    }

    #[test]
    fn a_connection_goes_on_with_any_of_the_last_versions_that_were_announced() {
        let mut view = view((100, 1));
        let versions = 1..=100;
        for number in versions.clone() {
            view.announced = Some(proven(100, number));
            view.remember_announced();
        }
        for number in versions {
            let last = Some(proven(100, number));
            let is_remembered = number > 100 - u32::try_from(MAX_ANNOUNCED).expect("few");
            let expected = if is_remembered {
                &last
            } else {
                &view.announced
            };
            assert_eq!(view.pinned_for(last.clone()), *expected, "{number}");
        }
    }

    #[test]
    fn a_canary_knows_its_own_plaintext_alone() {
        let mut canary = view((100, 1)).canary.expect("a canary");
        canary.digest = sha256(b"random");
        assert!(canary.is_plaintext(b"random"));
        assert!(!canary.is_plaintext(b"other") && !canary.is_plaintext(b""));
    }

    /// A process that was just started answers Status from the state file. What waits for its first refresh then
    /// encrypts with what its own connection was answered, whatever another one was answered meanwhile.
    #[test]
    fn an_encrypt_that_waited_uses_what_status_returned_on_its_connection() {
        let last = Some(proven(100, 1));
        let mut view = view((100, 1));
        view.announced.clone_from(&last);
        view.remember_announced();
        assert_eq!(view.pin(last.clone()), Pinned::Later);
        view.is_refreshed = true;
        view.proven = Some(proven(200, 2));
        assert_eq!(view.pin(last.clone()), Pinned::Version(proven(100, 1)));
        view.announced = Some(proven(200, 2));
        view.remember_announced();
        assert_eq!(view.pin(last), Pinned::Version(proven(100, 1)));
        assert_eq!(view.pin(None), Pinned::Version(proven(200, 2)));
    }

    /// Under KMS v1 nobody calls Status, whatever an earlier process announced.
    #[test]
    fn the_proven_version_writes_until_status_is_asked() {
        let mut view = view((200, 2));
        view.announced = Some(proven(100, 1));
        assert_eq!(view.writing(), Some(&proven(200, 2)));
        view.status_asked = true;
        assert_eq!(view.writing(), Some(&proven(100, 1)));
    }
}
