//! A Decrypt of a seed that is in the seed cache: Vault is asked first, and has a part of the caller's time. Only if
//! it cannot be used does the cache answer; whatever else happens is found out as without a cache.

use std::sync::Arc;

use tokio::time::Instant;

use super::error::KeyError;
use super::message::{DecryptCall, KeyMsg};
use super::operations::{Candidate, Operations};
use super::seed_cache::Remembered;
use crate::batch::{self, Completion, Decrypt, Request, RetryPolicy};
use crate::vault::Plaintext;

/// Completes it.
struct RememberedCompletion {
    operations: Arc<Operations>,
    candidate: Candidate,
    entry: Remembered,
    call: DecryptCall,
}

/// Sends the call to Vault if the cache can answer it in Vault's place. Gives it back if not.
pub(super) fn decrypt(
    operations: &Arc<Operations>,
    candidates: &[Candidate],
    call: DecryptCall,
) -> Option<DecryptCall> {
    let found = candidates.iter().find_map(|candidate| {
        let (key, bound) = (&candidate.key, candidate.associated_data.as_ref());
        let entry = operations
            .seed_cache
            .remembered(key, &call.ciphertext, bound)?;
        Some((candidate.clone(), entry))
    });
    let Some((candidate, entry)) = found else {
        return Some(call);
    };
    let deadline = operations
        .seed_cache
        .vaults_deadline(Instant::now(), call.deadline);
    operations.decrypts.submit(Request {
        operation: Decrypt {
            ciphertext: call.ciphertext.clone(),
            associated_data: candidate.associated_data.clone(),
        },
        key: candidate.key.clone(),
        deadline,
        policy: RetryPolicy::Once,
        parent: call.parent.clone(),
        completion: Box::new(RememberedCompletion {
            operations: operations.clone(),
            candidate,
            entry,
            call,
        }),
    });
    None
}

impl Completion<Plaintext> for RememberedCompletion {
    fn is_abandoned(&self) -> bool {
        self.call.reply.is_closed()
    }

    fn complete(self: Box<Self>, outcome: Result<Plaintext, batch::Error>) {
        let Self {
            operations,
            candidate:
                Candidate {
                    key,
                    associated_data,
                },
            entry,
            call,
        } = *self;
        match outcome {
            Ok(seed) => {
                let bound = associated_data.as_ref();
                operations.note_decrypted(&key, &call.ciphertext, bound, &seed);
                let _ = call.reply.send(Ok(seed));
            }
            Err(error) => {
                let is_outage = error.is_outage();
                let error = KeyError::of_batch(&key, error);
                operations.note_failed(&error, &key);
                if is_outage
                    && operations.may_remember()
                    && let Some(seed) = operations.seed_cache.answer(&entry, &error)
                {
                    let _ = call.reply.send(Ok(seed));
                    return;
                }
                // A manager that is gone drops the call, which is repeated with its successor.
                let _ = operations.manager.cast(KeyMsg::DecryptByVault(call));
            }
        }
    }
}
