//! What becomes of an Encrypt or a Decrypt that Vault has answered.

use std::sync::Arc;

use tokio::time::Instant;

use super::error::KeyError;
use super::message::{EncryptedSeed, FailedDecrypt, KeyMsg, Reply};
use super::operations::Operations;
use super::view::ProvenKey;
use crate::batch::{self, Completion};
use crate::vault::{ApiErrorKind, AssociatedData, Ciphertext, Encrypted, Plaintext, TransitKey};

/// Completes an Encrypt that was pinned to a version.
pub(super) struct EncryptCompletion {
    pub(super) operations: Arc<Operations>,
    pub(super) pinned: ProvenKey,
    /// The seed, if the cache keeps it.
    pub(super) seed: Option<Arc<Plaintext>>,
    pub(super) reply: Reply<EncryptedSeed>,
}

/// Completes a Decrypt by one key.
pub(super) struct DecryptCompletion {
    pub(super) operations: Arc<Operations>,
    pub(super) key: Arc<TransitKey>,
    pub(super) ciphertext: Arc<Ciphertext>,
    /// What the ciphertext is bound to.
    pub(super) associated_data: Option<AssociatedData>,
    pub(super) deadline: Instant,
    pub(super) reply: Reply<Plaintext>,
}

impl Completion<Encrypted> for EncryptCompletion {
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn complete(self: Box<Self>, outcome: Result<Encrypted, batch::Error>) {
        let version = self.pinned.stamp.version;
        let answer = match outcome {
            Ok(encrypted) => {
                self.operations.note_encrypted(version);
                if let Some(seed) = &self.seed {
                    self.operations.keep_encrypted(&encrypted.ciphertext, seed);
                }
                Ok(EncryptedSeed {
                    ciphertext: encrypted.ciphertext,
                    key_id: self.pinned.key_id,
                    annotation: None,
                })
            }
            Err(error) => {
                let error = KeyError::of_batch(&self.operations.key, error);
                self.operations.note_failed(&error, &self.operations.key);
                Err(error.or_too_old_to_encrypt(Some(version)))
            }
        };
        let _ = self.reply.send(answer);
    }
}

impl Completion<Plaintext> for DecryptCompletion {
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn complete(self: Box<Self>, outcome: Result<Plaintext, batch::Error>) {
        let answer = match outcome {
            Ok(plaintext) => {
                let bound = self.associated_data.as_ref();
                self.operations
                    .note_decrypted(&self.key, &self.ciphertext, bound, &plaintext);
                Ok(plaintext)
            }
            Err(error) => {
                let mut error = KeyError::of_batch(&self.key, error);
                error = error.or_other_data(&self.key, self.associated_data.as_ref());
                self.operations.note_failed(&error, &self.key);
                if error.api_error == Some(ApiErrorKind::VersionTooOld) {
                    // Vault does not name its limit; the actor's task asks for it.
                    let failed = FailedDecrypt {
                        key: self.key,
                        version: self.ciphertext.version(),
                        error,
                        deadline: self.deadline,
                        reply: self.reply,
                    };
                    let _ = self.operations.manager.cast(KeyMsg::Explain(failed));
                    return;
                }
                Err(error)
            }
        };
        let _ = self.reply.send(answer);
    }
}
