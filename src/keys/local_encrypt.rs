//! An Encrypt while a local KEK is ready: Vault is asked first, and has half of the caller's time. Only if it cannot
//! be used is the seed sealed here; whatever else happens is found out as without a local KEK.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::completion::EncryptCompletion;
use super::error::KeyError;
use super::local_kek::{self, ANNOTATION, KEK_BYTES};
use super::message::{EncryptCall, EncryptedSeed, KeyMsg};
use super::operations::Operations;
use super::refresh::random_into;
use super::view::ProvenKey;
use crate::batch::{self, Completion, Encrypt, Request, RetryPolicy};
use crate::telemetry::spans::Parent;
use crate::vault::{Encrypted, Plaintext};

/// How long Vault has for each of the two calls that a new KEK takes.
const KEK_TIMEOUT: Duration = Duration::from_secs(10);

/// Completes it.
struct LocalCompletion {
    operations: Arc<Operations>,
    pinned: ProvenKey,
    call: EncryptCall,
}

/// Sends the call to Vault if a local KEK can take Vault's place. Gives it back if not.
pub(super) fn encrypt(
    operations: &Arc<Operations>,
    pinned: &ProvenKey,
    call: EncryptCall,
) -> Option<EncryptCall> {
    if !operations.may_remember() || !operations.seed_cache.has_kek(pinned) {
        return Some(call);
    }
    let cache = &operations.seed_cache;
    operations.encrypts.submit(Request {
        operation: Encrypt {
            plaintext: call.plaintext.clone(),
            version: Some(pinned.stamp.version),
            associated_data: None,
        },
        key: operations.key.clone(),
        deadline: cache.vaults_deadline_to_encrypt(Instant::now(), call.deadline),
        policy: RetryPolicy::TransientOrLagging,
        parent: call.parent.clone(),
        completion: Box::new(LocalCompletion {
            operations: operations.clone(),
            pinned: pinned.clone(),
            call,
        }),
    });
    None
}

impl Completion<Encrypted> for LocalCompletion {
    fn is_abandoned(&self) -> bool {
        self.call.reply.is_closed()
    }

    fn complete(self: Box<Self>, outcome: Result<Encrypted, batch::Error>) {
        let Self {
            operations,
            pinned,
            call,
        } = *self;
        let error = match outcome {
            Ok(encrypted) => {
                let completion = EncryptCompletion {
                    operations,
                    pinned,
                    seed: Some(call.plaintext),
                    reply: call.reply,
                };
                return Box::new(completion).complete(Ok(encrypted));
            }
            Err(error) => error,
        };
        let is_outage = error.is_outage();
        let error = KeyError::of_batch(&operations.key, error);
        operations.note_failed(&error, &operations.key);
        if is_outage
            && operations.may_remember()
            && let Some(made) = operations.seed_cache.seal(&pinned, &call.plaintext, &error)
        {
            let _ = call.reply.send(Ok(EncryptedSeed {
                ciphertext: made.wrapped,
                key_id: pinned.key_id,
                annotation: Some((ANNOTATION, made.sealed)),
            }));
            return;
        }
        // A manager that is gone drops the call, which is repeated with its successor.
        let _ = operations.manager.cast(KeyMsg::EncryptByVault(call));
    }
}

/// Has Vault wrap a new KEK with the proven version, and unwrap it, and keeps it.
pub(super) async fn prepare(operations: Arc<Operations>, proven: ProvenKey) {
    match wrap(&operations, &proven).await {
        Ok(()) => {}
        Err(error) if error.is_transient() => {
            tracing::debug!(error = %error, "no local KEK yet");
        }
        Err(error) => operations.seed_cache.no_kek(&error),
    }
}

async fn wrap(operations: &Arc<Operations>, proven: &ProvenKey) -> Result<(), KeyError> {
    // On the heap from the first byte: what a function returns by value stays on the stack too.
    let mut bytes = vec![0; KEK_BYTES];
    random_into(&mut bytes)?;
    let kek = Arc::new(Plaintext::new(bytes));
    let (key, data) = (&operations.key, local_kek::associated_data());
    let operation = Encrypt {
        plaintext: kek.clone(),
        version: Some(proven.stamp.version),
        associated_data: Some(data.clone()),
    };
    let deadline = || Instant::now() + KEK_TIMEOUT;
    let wrapped = operations
        .call_encrypt(operation, deadline(), Parent::NOBODY)
        .await?
        .ciphertext;
    let unwrapped = operations
        .decrypt_bound(key, &wrapped, data, deadline())
        .await?;
    if unwrapped.expose_secret() != kek.expose_secret() {
        let cause = "the local KEK decrypted to a different plaintext";
        return Err(KeyError::unfit(key, cause, None));
    }
    operations
        .seed_cache
        .keep_kek(key, proven.clone(), wrapped, &kek);
    Ok(())
}
