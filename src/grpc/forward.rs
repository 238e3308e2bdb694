//! Forwards a call to the current KeyManager. If that fails, the call goes to its successor, as long
//! as the caller's deadline allows: Transit calls can be repeated safely.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout_at};
use tonic::Status;

use super::call::{Budgets, Call};
use super::connections::MAX_CONNECTIONS;
use super::deadline::Deadline;
use super::error;
use super::failures::Failures;
use crate::keys::{
    Annotations, Ciphertext, DecryptCall, EncryptCall, EncryptedSeed, KeyError, KeyManagerHandle,
    KeyMsg, Pin, Plaintext, Reply, StatusReport,
};
use crate::telemetry::metrics::Metrics;

/// A call that was lost while its actor lives on is repeated after this.
const REPEAT_IN: Duration = Duration::from_millis(20);
/// A call that was lost more often than this may be what makes the actor fail, and is not repeated.
/// With fewer, calls fail that only met an actor that failed for another reason several times.
const MAX_LOST: u32 = 4;

/// The way from a gRPC call to the KeyManager and back.
#[derive(Debug, Clone)]
pub struct Forwarder {
    keys: watch::Receiver<Option<KeyManagerHandle>>,
    /// Mailboxes are unbounded, so what may wait is bounded here.
    budgets: Budgets,
    max_waiting: usize,
    failures: Failures,
}

impl Forwarder {
    /// Forwards to the KeyManager in `keys`, which is `None` while it restarts; at most `max_waiting`
    /// Encrypts and Decrypts at once. Calls are counted in `metrics`.
    #[must_use]
    pub fn new(
        keys: watch::Receiver<Option<KeyManagerHandle>>,
        max_waiting: usize,
        metrics: Metrics,
    ) -> Self {
        Self {
            keys,
            budgets: Budgets::new(max_waiting, MAX_CONNECTIONS, metrics),
            max_waiting,
            failures: Failures::default(),
        }
    }

    /// How many Encrypts and Decrypts may wait at once.
    #[must_use]
    pub fn max_waiting(&self) -> usize {
        self.max_waiting
    }

    /// The budgets of all connections.
    pub(super) fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Where the services report failed calls.
    pub(super) fn failures(&self) -> &Failures {
        &self.failures
    }

    pub(super) async fn status(&self, deadline: Deadline) -> Result<StatusReport, Status> {
        let asked = |keys: KeyManagerHandle| {
            let mut next = self.keys.clone();
            next.mark_unchanged();
            async move {
                tokio::select! {
                    biased;
                    answer = keys.status_handle.status(deadline.work) => Some(answer),
                    // While it waits, a successor may have an answer first.
                    _ = next.changed() => None,
                }
            }
        };
        self.with_keys(deadline, asked).await
    }

    pub(super) async fn encrypt(
        &self,
        call: &Call,
        plaintext: Vec<u8>,
        pin: Pin,
        deadline: Deadline,
    ) -> Result<EncryptedSeed, Status> {
        let plaintext = Arc::new(Plaintext::new(plaintext));
        let _waiting = call.admit().ok_or_else(error::too_many_waiting)?;
        self.ask(deadline, |reply| {
            KeyMsg::Encrypt(EncryptCall {
                plaintext: plaintext.clone(),
                pin: pin.clone(),
                deadline: deadline.work,
                parent: call.span.parent(),
                reply,
            })
        })
        .await
    }

    pub(super) async fn decrypt(
        &self,
        call: &Call,
        ciphertext: Vec<u8>,
        key_id: Option<String>,
        annotations: Annotations,
        deadline: Deadline,
    ) -> Result<Plaintext, Status> {
        let ciphertext = Ciphertext::try_new(ciphertext).map_err(|error| error::invalid(&error))?;
        let ciphertext = Arc::new(ciphertext);
        let annotations = (!annotations.is_empty()).then(|| Arc::new(annotations));
        let _waiting = call.admit().ok_or_else(error::too_many_waiting)?;
        self.ask(deadline, |reply| {
            KeyMsg::Decrypt(DecryptCall {
                ciphertext: ciphertext.clone(),
                key_id: key_id.clone(),
                annotations: annotations.clone(),
                deadline: deadline.work,
                parent: call.span.parent(),
                reply,
            })
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        deadline: Deadline,
        message: impl Fn(Reply<T>) -> KeyMsg,
    ) -> Result<T, Status> {
        self.with_keys(deadline, |keys| ask_once(keys.actor, &message))
            .await
    }

    /// Asks until there is an answer: again if the KeyManager failed before it answered, or was
    /// replaced meanwhile.
    async fn with_keys<T, A>(
        &self,
        deadline: Deadline,
        ask: impl Fn(KeyManagerHandle) -> A,
    ) -> Result<T, Status>
    where
        A: Future<Output = Option<Result<T, KeyError>>>,
    {
        let asked = async {
            let mut keys = self.keys.clone();
            let mut lost = 0;
            loop {
                let serving = keys.borrow_and_update().clone();
                if let Some(serving) = serving {
                    if let Some(answer) = ask(serving).await {
                        return answer.map_err(|error| error::of_error(&error));
                    }
                    lost += 1;
                    if lost > MAX_LOST {
                        return Err(error::lost());
                    }
                }
                // The actor or its task failed; a successor starts in a moment.
                tokio::select! {
                    Ok(()) = keys.changed() => {}
                    () = sleep(REPEAT_IN) => {}
                }
            }
        };
        let answer = timeout_at(deadline.answer, asked).await;
        answer.unwrap_or_else(|_| Err(error::no_answer()))
    }
}

/// Returns `None` if the actor failed before it answered.
async fn ask_once<T: Send + 'static>(
    actor: ActorRef<KeyMsg>,
    message: &impl Fn(Reply<T>) -> KeyMsg,
) -> Option<Result<T, KeyError>> {
    let (reply, answer) = oneshot::channel();
    actor.cast(message(reply)).ok()?;
    answer.await.ok()
}
