//! What kube-apiserver asks of the KeyManager: hands each call to the batchers.

use std::pin::{self, pin};

use super::candidates::Choice;
use super::completion::{DecryptCompletion, EncryptCompletion};
use super::local_decrypt;
use super::local_encrypt;
use super::manager::State;
use super::message::{
    DecryptCall, DecryptTogether, EncryptCall, EncryptedSeed, FailedDecrypt, Pin, Reply,
};
use super::operations::Candidate;
use super::refresh;
use super::remembered;
use super::view::{Pinned, ProvenKey};
use crate::batch::{Decrypt, Encrypt, Request, RetryPolicy};

impl State {
    pub(super) fn encrypt(&mut self, call: EncryptCall) {
        match self.pin(&call) {
            Pinned::Version(pinned) => {
                if let Some(call) = local_encrypt::encrypt(&self.operations, &pinned, call) {
                    self.encrypt_pinned(call, pinned);
                }
            }
            Pinned::Later => self.encrypt_later(call),
            Pinned::Rejected(error) => drop(call.reply.send(Err(error))),
        }
    }

    /// Encrypts without the local KEK, which could not.
    pub(super) fn encrypt_by_vault(&mut self, call: EncryptCall) {
        match self.pin(&call) {
            Pinned::Version(pinned) => self.encrypt_pinned(call, pinned),
            Pinned::Later => self.encrypt_later(call),
            Pinned::Rejected(error) => drop(call.reply.send(Err(error))),
        }
    }

    /// What this Encrypt does now. Under KMS v1 it asks for the latest version, which takes a while.
    fn pin(&self, call: &EncryptCall) -> Pinned {
        let view = self.args.view.borrow();
        match &call.pin {
            Pin::Announced(last) => view.pin(last.clone()),
            Pin::Latest => {
                let replaced = view.replaced().cloned();
                replaced.map_or(Pinned::Later, Pinned::Rejected)
            }
        }
    }

    fn encrypt_pinned(&self, call: EncryptCall, pinned: ProvenKey) {
        let seed = self.args.seed_cache.is_on().then(|| call.plaintext.clone());
        self.operations.encrypts.submit(Request {
            operation: Encrypt {
                plaintext: call.plaintext,
                version: Some(pinned.stamp.version),
                associated_data: None,
            },
            key: self.operations.key.clone(),
            deadline: call.deadline,
            policy: RetryPolicy::TransientOrLagging,
            parent: call.parent,
            completion: Box::new(EncryptCompletion {
                operations: self.operations.clone(),
                pinned,
                seed,
                reply: call.reply,
            }),
        });
    }

    /// An Encrypt under KMS v1, or one before any version was proven.
    fn encrypt_later(&mut self, call: EncryptCall) {
        let operations = self.operations.clone();
        let latest_works = !self.machine.latest_is_rejected();
        self.tasks.spawn(async move {
            let mut reply = call.reply;
            let work = pin!(async {
                let last = match &call.pin {
                    Pin::Announced(last) => last.clone(),
                    Pin::Latest => None,
                };
                let pinned = operations.pinned(last, call.deadline).await?;
                // Under KMS v1 nobody may ever ask for a Status, so what works is what counts.
                let proven = match call.pin {
                    Pin::Announced(_) => None,
                    Pin::Latest => operations.view.borrow().proven.clone(),
                };
                let ProvenKey { key_id, stamp } = proven.unwrap_or(pinned);
                let (plaintext, deadline) = (&call.plaintext, call.deadline);
                let ciphertext = if call.pin == Pin::Latest && latest_works {
                    operations
                        .encrypt_latest(plaintext, stamp.version, deadline, &call.parent)
                        .await?
                } else {
                    let version = Some(stamp.version);
                    let parent = call.parent.clone();
                    let encrypted = operations
                        .encrypt(plaintext, version, deadline, parent)
                        .await?;
                    operations.note_encrypted(stamp.version);
                    encrypted.ciphertext
                };
                operations.keep_encrypted(&ciphertext, plaintext);
                Ok(EncryptedSeed {
                    ciphertext,
                    key_id,
                    annotation: None,
                })
            });
            let Some(answer) = unless_abandoned(&mut reply, work).await else {
                return;
            };
            if let Err(error) = &answer {
                operations.note_failed(error, &operations.key);
            }
            let _ = reply.send(answer);
        });
    }

    pub(super) fn decrypt(&mut self, call: DecryptCall) {
        let call = match local_decrypt::split(call) {
            Ok((for_kek, waiting)) => {
                self.tasks.spawn(waiting.answer());
                for_kek
            }
            Err(call) => call,
        };
        let choice = match self.readers.choose(&call) {
            Ok(choice) => choice,
            Err(error) => return drop(call.reply.send(Err(error))),
        };
        let call = if self.operations.may_remember() {
            remembered::decrypt(&self.operations, choice.candidates(), call)
        } else {
            Some(call)
        };
        if let Some(call) = call {
            self.decrypt_by_choice(call, choice);
        }
    }

    /// Decrypts without the seed cache, which could not answer.
    pub(super) fn decrypt_by_vault(&mut self, call: DecryptCall) {
        match self.readers.choose(&call) {
            Ok(choice) => self.decrypt_by_choice(call, choice),
            Err(error) => drop(call.reply.send(Err(error))),
        }
    }

    fn decrypt_by_choice(&mut self, call: DecryptCall, choice: Choice) {
        match choice {
            Choice::One(candidate) => self.decrypt_by(call, candidate),
            Choice::Any(candidates) => self.decrypt_with_any(call, candidates),
        }
    }

    /// Decrypts with the one key that can have made it.
    fn decrypt_by(&self, call: DecryptCall, candidate: Candidate) {
        let Candidate {
            key,
            associated_data,
        } = candidate;
        self.operations.decrypts.submit(Request {
            operation: Decrypt {
                ciphertext: call.ciphertext.clone(),
                associated_data: associated_data.clone(),
            },
            key: key.clone(),
            deadline: call.deadline,
            policy: RetryPolicy::TransientOrLagging,
            parent: call.parent,
            completion: Box::new(DecryptCompletion {
                operations: self.operations.clone(),
                key,
                ciphertext: call.ciphertext,
                associated_data,
                deadline: call.deadline,
                reply: call.reply,
            }),
        });
    }

    fn decrypt_with_any(&mut self, call: DecryptCall, candidates: Vec<Candidate>) {
        let operations = self.operations.clone();
        self.tasks.spawn(async move {
            let mut reply = call.reply;
            let key_id = call.key_id.as_deref();
            let (ciphertext, deadline) = (&call.ciphertext, call.deadline);
            let work =
                operations.decrypt_with_any(candidates, ciphertext, key_id, deadline, &call.parent);
            let work = pin!(work);
            if let Some(answer) = unless_abandoned(&mut reply, work).await {
                let _ = reply.send(answer);
            }
        });
    }

    /// For a reload, which has seconds and no caller that goes away.
    pub(super) fn decrypt_together(&mut self, call: DecryptTogether) {
        let operations = self.operations.clone();
        self.tasks.spawn(async move {
            let ciphertexts: Vec<_> = call.ciphertexts.iter().map(|it| &**it).collect();
            let outcomes = refresh::decrypt_together(&operations, &ciphertexts, call.deadline);
            let _ = call.reply.send(outcomes.await);
        });
    }

    /// Answers a failed Decrypt once its error names the key's limit.
    pub(super) fn explain(&mut self, failed: FailedDecrypt) {
        let operations = self.operations.clone();
        self.tasks.spawn(async move {
            let FailedDecrypt {
                key,
                version,
                error,
                deadline,
                reply,
            } = failed;
            let error = operations.explained(&key, version, deadline, error).await;
            let _ = reply.send(Err(error));
        });
    }
}

/// Does the work while somebody waits for it. By reference, because an async function keeps what
/// it is given twice.
async fn unless_abandoned<T, W: Future>(
    reply: &mut Reply<T>,
    work: pin::Pin<&mut W>,
) -> Option<W::Output> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = reply.closed() => None,
    }
}
