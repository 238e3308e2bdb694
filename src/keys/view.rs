//! What is known of the key: the snapshot that the KeyManager publishes.

use std::sync::Arc;

use tokio::time::Instant;

use super::error::KeyError;
use super::key_id::KeyId;
use crate::vault::{Ciphertext, VersionStamp};

/// The snapshot. The Supervisor owns its sender, so that what was announced outlives the actor.
#[derive(Debug, Default, Clone)]
pub struct KeyView {
    /// What Status said last; what an Encrypt under KMS v2 uses.
    pub announced: Option<ProvenKey>,
    /// The latest version that was seen to work; announced by the next Status.
    pub proven: Option<ProvenKey>,
    /// A ciphertext of the proven version and what it has to decrypt to.
    pub(super) canary: Option<Canary>,
    /// When Vault last did what was asked of it.
    pub last_success: Option<Instant>,
    /// Why the last look failed, until something succeeds.
    pub fault: Option<KeyFault>,
}

/// A version of the writing key that worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenKey {
    /// Its key_id.
    pub key_id: KeyId,
    /// Its version and creation time.
    pub stamp: VersionStamp,
}

/// A known plaintext and its ciphertext.
#[derive(Debug, Clone)]
pub(super) struct Canary {
    pub(super) plaintext: [u8; 32],
    pub(super) ciphertext: Arc<Ciphertext>,
    pub(super) stamp: VersionStamp,
}

/// A failed look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFault {
    /// What happened.
    pub error: KeyError,
    /// Whether it is certain that only an operator can fix it.
    pub verdict: bool,
}

impl KeyView {
    /// The version that an Encrypt of KMS v2 has to use.
    #[must_use]
    pub fn pinned(&self) -> Option<&ProvenKey> {
        self.announced.as_ref().or(self.proven.as_ref())
    }

    /// Takes over what an earlier way to the same key had found out: what was announced, and a
    /// later version than this one has seen, where it meets a standby that lags.
    pub fn inherit(&mut self, before: &Self) {
        let moment = |proven: &Option<ProvenKey>| proven.as_ref().map(|proven| proven.stamp);
        self.announced.clone_from(&before.announced);
        if moment(&self.proven) < moment(&before.proven) {
            self.proven.clone_from(&before.proven);
            self.canary.clone_from(&before.canary);
        }
    }

    /// The error that nothing but an operator's act will end.
    #[must_use]
    pub fn verdict(&self) -> Option<&KeyError> {
        let fault = self.fault.as_ref().filter(|fault| fault.verdict);
        fault.map(|fault| &fault.error)
    }
}
