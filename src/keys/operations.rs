//! Encrypt and Decrypt for kube-apiserver: which version, which key, and what an outcome shows.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::bound;
use super::error::{ErrorKind, KeyError};
use super::key_id::KeyId;
use super::message::KeyMsg;
use super::refresh::event::CallObservation;
use super::seed_cache::{Proof, SeedCache};
use super::status;
use super::view::{KeyView, Pinned, ProvenKey};
use crate::batch::{Batcher, Decrypt, Encrypt, RetryPolicy, backoff_within, call_with_retries};
use crate::session::{Session, Sessions};
use crate::system::clock::Moment;
use crate::telemetry::spans::Parent;
use crate::vault::{
    ApiErrorKind, AssociatedData, Ciphertext, Client, Encrypted, KeyInfo, KeyVersion, Plaintext,
    TransitKey,
};

/// The first wait before the configured keys are tried once more; doubled by each round.
const ROUND_BACKOFF: Duration = Duration::from_millis(50);
/// The longest wait between two rounds.
const MAX_ROUND_BACKOFF: Duration = Duration::from_secs(1);

/// A key that may have made a ciphertext, and what that is bound to then.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) key: Arc<TransitKey>,
    pub(super) associated_data: Option<AssociatedData>,
}

impl Candidate {
    /// Whether a value with this key_id can be of this key: what is bound to labels is of none without.
    fn may_have_made(&self, key_id: Option<&str>) -> bool {
        self.associated_data.is_some() || !bound::has_bound_key_id(key_id)
    }
}

/// Where calls are sent.
#[derive(Debug)]
pub(super) struct Operations {
    pub(super) client: Arc<Client>,
    pub(super) sessions: Sessions,
    pub(super) encrypts: Batcher<Encrypt>,
    pub(super) decrypts: Batcher<Decrypt>,
    /// The writing key.
    pub(super) key: Arc<TransitKey>,
    /// What successes are noted in.
    pub(super) view: Arc<watch::Sender<KeyView>>,
    /// What answers while Vault is away.
    pub(super) seed_cache: SeedCache,
    /// Who hears of contradictions.
    pub(super) manager: ActorRef<KeyMsg>,
}

impl Operations {
    /// Encrypts with the key, with this version if given.
    pub(super) async fn encrypt(
        &self,
        plaintext: &Arc<Plaintext>,
        version: Option<KeyVersion>,
        deadline: Instant,
        parent: Parent,
    ) -> Result<Encrypted, KeyError> {
        let operation = Encrypt {
            plaintext: plaintext.clone(),
            version,
            associated_data: None,
        };
        self.call_encrypt(operation, deadline, parent).await
    }

    pub(super) async fn call_encrypt(
        &self,
        operation: Encrypt,
        deadline: Instant,
        parent: Parent,
    ) -> Result<Encrypted, KeyError> {
        let version = operation.version;
        let policy = RetryPolicy::TransientOrLagging;
        let outcome = self
            .encrypts
            .call(&self.key, operation, policy, deadline, parent)
            .await;
        outcome
            .ok_or_else(task_ended)?
            .map_err(|error| KeyError::of_batch(&self.key, error))
            .map_err(|error| error.or_too_old_to_encrypt(version))
    }

    /// Decrypts with this key what is bound to nothing.
    pub(super) async fn decrypt(
        &self,
        key: &Arc<TransitKey>,
        ciphertext: &Arc<Ciphertext>,
        policy: RetryPolicy,
        deadline: Instant,
        parent: Parent,
    ) -> Result<Plaintext, KeyError> {
        let operation = Decrypt {
            ciphertext: ciphertext.clone(),
            associated_data: None,
        };
        self.call_decrypt(key, operation, policy, deadline, parent)
            .await
    }

    /// Decrypts with this key what is bound to these data, for nobody but this process.
    pub(super) async fn decrypt_bound(
        &self,
        key: &Arc<TransitKey>,
        ciphertext: &Ciphertext,
        associated_data: AssociatedData,
        deadline: Instant,
    ) -> Result<Plaintext, KeyError> {
        let operation = Decrypt {
            ciphertext: Arc::new(ciphertext.clone()),
            associated_data: Some(associated_data),
        };
        let policy = RetryPolicy::Transient;
        self.call_decrypt(key, operation, policy, deadline, Parent::NOBODY)
            .await
    }

    async fn call_decrypt(
        &self,
        key: &Arc<TransitKey>,
        operation: Decrypt,
        policy: RetryPolicy,
        deadline: Instant,
        parent: Parent,
    ) -> Result<Plaintext, KeyError> {
        let outcome = self
            .decrypts
            .call(key, operation, policy, deadline, parent)
            .await;
        outcome
            .ok_or_else(task_ended)?
            .map_err(|error| KeyError::of_batch(key, error))
    }

    /// Reads what Transit says of a key.
    pub(super) async fn read_key(
        &self,
        key: &Arc<TransitKey>,
        deadline: Instant,
    ) -> Result<KeyInfo, KeyError> {
        let read = |session: Arc<Session>| {
            let (client, key) = (self.client.clone(), key.clone());
            async move { client.read_key(&key, &session.token, deadline).await }
        };
        call_with_retries(&self.sessions, deadline, read)
            .await
            .map_err(|error| KeyError::of_batch(key, error))
    }

    /// Waits until a version may write: in a running daemon not at all, else until the first proof. `last`: what Status
    /// returned last on the connection.
    ///
    /// # Errors
    /// With the verdict as soon as there is one, or at the deadline with the reason.
    pub(super) async fn pinned(
        &self,
        last: Option<ProvenKey>,
        deadline: Instant,
    ) -> Result<ProvenKey, KeyError> {
        let mut view = self.view.subscribe();
        let ready = |view: &KeyView| {
            let is_pinned = view.pinned().is_some() && view.is_refreshed;
            is_pinned || view.verdict().is_some()
        };
        drop(timeout_at(deadline, view.wait_for(ready)).await);
        let known = self.view.borrow().clone();
        match known.pin(last) {
            Pinned::Version(pinned) => Ok(pinned),
            Pinned::Rejected(_) | Pinned::Later => {
                Err(status::reason(&known, &self.sessions.view()))
            }
        }
    }

    /// Encrypts with the key's latest version, for KMS v1, which knows no key_id and so has no other
    /// way to follow a rotation. A version later than the proven one has to decrypt first: nobody
    /// reads from etcd what it wrote until it is needed.
    pub(super) async fn encrypt_latest(
        &self,
        plaintext: &Arc<Plaintext>,
        proven: KeyVersion,
        deadline: Instant,
        parent: &Parent,
    ) -> Result<Ciphertext, KeyError> {
        let encrypted = self
            .encrypt(plaintext, None, deadline, parent.clone())
            .await?;
        if encrypted.version <= proven {
            self.note_encrypted(encrypted.version);
            return Ok(encrypted.ciphertext);
        }
        self.observe(CallObservation::NewerVersion);
        let left = deadline.saturating_duration_since(Instant::now());
        let halfway = Instant::now() + left / 2;
        let ciphertext = Arc::new(encrypted.ciphertext.clone());
        let policy = RetryPolicy::Transient;
        let back = self
            .decrypt(&self.key, &ciphertext, policy, halfway, parent.clone())
            .await;
        if back.is_ok_and(|back| back.expose_secret() == plaintext.expose_secret()) {
            self.note_encrypted(encrypted.version);
            return Ok(encrypted.ciphertext);
        }
        let encrypted = self
            .encrypt(plaintext, Some(proven), deadline, parent.clone())
            .await?;
        self.note_encrypted(proven);
        Ok(encrypted.ciphertext)
    }

    /// Decrypts with whichever of these keys can. Each gets one attempt before any gets a second.
    pub(super) async fn decrypt_with_any(
        &self,
        mut candidates: Vec<Candidate>,
        ciphertext: &Arc<Ciphertext>,
        key_id: Option<&str>,
        deadline: Instant,
        parent: &Parent,
    ) -> Result<Plaintext, KeyError> {
        let mut backoff = ROUND_BACKOFF;
        loop {
            let mut worst: Option<KeyError> = None;
            let mut retried = Vec::new();
            for candidate in candidates {
                let key = &candidate.key;
                let operation = Decrypt {
                    ciphertext: ciphertext.clone(),
                    associated_data: candidate.associated_data.clone(),
                };
                let policy = RetryPolicy::Once;
                let tried = self.call_decrypt(key, operation, policy, deadline, parent.clone());
                match tried.await {
                    Ok(plaintext) => {
                        let bound = candidate.associated_data.as_ref();
                        self.note_decrypted(key, ciphertext, bound, &plaintext);
                        return Ok(plaintext);
                    }
                    Err(error) => {
                        self.note_failed(&error, key);
                        // The version of another key is none that this one will come to have.
                        let may_lag = key_id.is_none_or(|key_id| !KeyId::is_ours(key_id))
                            && candidate.may_have_made(key_id);
                        let may_pass = error.is_transient() || (may_lag && error.is_lag());
                        let error = error.or_other_data(key, candidate.associated_data.as_ref());
                        let error = self.explained(key, ciphertext.version(), deadline, error);
                        worst = Some(graver(worst, error.await));
                        if may_pass {
                            retried.push(candidate);
                        }
                    }
                }
            }
            let worst =
                worst.unwrap_or_else(|| KeyError::new(ErrorKind::Internal, "no key is configured"));
            let wait = backoff_within(backoff, None, Instant::now(), deadline);
            let (Some(wait), false) = (wait, retried.is_empty()) else {
                return Err(worst.by_no_configured_key(key_id).or_bound(key_id));
            };
            sleep(wait).await;
            backoff = (backoff * 2).min(MAX_ROUND_BACKOFF);
            candidates = retried;
        }
    }

    /// Adds the key's limit to an error that says «too old» without it.
    pub(super) async fn explained(
        &self,
        key: &Arc<TransitKey>,
        version: KeyVersion,
        deadline: Instant,
        error: KeyError,
    ) -> KeyError {
        if error.api_error != Some(ApiErrorKind::VersionTooOld) {
            return error;
        }
        // Boxed, because it is rare: each call would reserve memory for it.
        let info = Box::pin(self.read_key(key, deadline)).await;
        error.too_old_to_decrypt(version, info.ok().map(|info| info.min_decryption_version))
    }

    /// An Encrypt worked with this version of the writing key.
    pub(super) fn note_encrypted(&self, version: KeyVersion) {
        let now = Instant::now();
        self.note_success(|view| view.last_encrypted = Some((version, now)));
    }

    /// A Decrypt worked. Only the writing key's says something of it.
    pub(super) fn note_decrypted(
        &self,
        key: &Arc<TransitKey>,
        ciphertext: &Ciphertext,
        associated_data: Option<&AssociatedData>,
        seed: &Plaintext,
    ) {
        if Arc::ptr_eq(key, &self.key) {
            self.note_success(|_| {});
        }
        if self.may_remember() {
            let proof = Proof::Decrypted;
            self.seed_cache
                .keep(key, ciphertext, associated_data, seed, proof);
        }
    }

    /// An Encrypt worked.
    pub(super) fn keep_encrypted(&self, ciphertext: &Ciphertext, seed: &Plaintext) {
        if self.may_remember() {
            let proof = Proof::Encrypted;
            self.seed_cache
                .keep(&self.key, ciphertext, None, seed, proof);
        }
    }

    /// Whether the seed cache may keep or answer anything: never under a verdict.
    pub(super) fn may_remember(&self) -> bool {
        self.seed_cache.is_on() && self.view.borrow().verdict().is_none()
    }

    fn note_success(&self, note: impl FnOnce(&mut KeyView)) {
        let mut failing = false;
        // Readers of the view need not be woken for a time.
        self.view.send_if_modified(|view| {
            view.last_success = Some(Moment::now());
            note(view);
            failing = view.fault.is_some();
            false
        });
        if failing {
            self.observe(CallObservation::Recovered);
        }
    }

    /// A call failed: what Vault rejects for the writing key may contradict what is known of it.
    pub(super) fn note_failed(&self, error: &KeyError, key: &Arc<TransitKey>) {
        let says_nothing = error.is_transient() || error.api_error == Some(ApiErrorKind::Other);
        let is_writing = Arc::ptr_eq(key, &self.key);
        if error.may_be_revocation() {
            if is_writing {
                self.seed_cache.suspend(key);
            } else {
                self.seed_cache.forget(key);
            }
        }
        if is_writing && !says_nothing {
            self.observe(CallObservation::Contradicted);
        }
    }

    fn observe(&self, observation: CallObservation) {
        // A manager that is gone is restarted, and reads the key then.
        let _ = self.manager.cast(KeyMsg::Observed(observation));
    }
}

fn task_ended() -> KeyError {
    KeyError::new(ErrorKind::Unavailable, "the call's task was restarted")
}

/// Of two failed keys, the failure to report: «not made by this key» says least, lag says most.
fn graver(before: Option<KeyError>, now: KeyError) -> KeyError {
    match before {
        Some(before) if now.api_error == Some(ApiErrorKind::BadCiphertext) || before.is_lag() => {
            before
        }
        _ => now,
    }
}

#[cfg(test)]
mod tests;
