//! Hands a call to the KeyManager that lives now. When it dies, the call goes to the next one, as
//! long as the caller's deadline allows: Transit calls can be repeated safely.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout_at};
use tonic::Status;

use super::call::{Budgets, Call};
use super::connections::MAX_CONNECTIONS;
use super::deadline::Deadline;
use super::failures::Failures;
use super::status;
use crate::keys::{
    Ciphertext, DecryptCall, EncryptCall, EncryptedSeed, KeyError, KeyManagerHandle, KeyMsg, Pin,
    Plaintext, Reply, StatusReport,
};
use crate::telemetry::metrics::Metrics;

/// When a call was lost while its actor lives on, it is repeated after this.
const REPEAT_IN: Duration = Duration::from_millis(20);

/// The way from a gRPC call to the KeyManager and back.
#[derive(Debug, Clone)]
pub struct Forwarder {
    keys: watch::Receiver<Option<KeyManagerHandle>>,
    /// Mailboxes are unbounded, so what may wait is bounded here.
    budgets: Budgets,
    failures: Failures,
}

impl Forwarder {
    /// Forwards to whoever is in `keys`, empty while it is restarted; at most `max_waiting` Encrypts
    /// and Decrypts at once. Calls are counted in `metrics`.
    #[must_use]
    pub fn new(
        keys: watch::Receiver<Option<KeyManagerHandle>>,
        max_waiting: usize,
        metrics: Metrics,
    ) -> Self {
        Self {
            keys,
            budgets: Budgets::new(max_waiting, MAX_CONNECTIONS, metrics),
            failures: Failures::default(),
        }
    }

    /// What the connections share.
    pub(super) fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// What the services tell of calls that failed.
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
                    // Where it has to wait, another one may have something to say first.
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
        let _waiting = call.wait().ok_or_else(status::too_many_waiting)?;
        self.ask(deadline, |reply| {
            KeyMsg::Encrypt(EncryptCall {
                plaintext: plaintext.clone(),
                pin,
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
        deadline: Deadline,
    ) -> Result<Plaintext, Status> {
        let ciphertext = Ciphertext::try_new(ciphertext)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let ciphertext = Arc::new(ciphertext);
        let _waiting = call.wait().ok_or_else(status::too_many_waiting)?;
        self.ask(deadline, |reply| {
            KeyMsg::Decrypt(DecryptCall {
                ciphertext: ciphertext.clone(),
                key_id: key_id.clone(),
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

    /// Asks until there is an answer: the next one where one died before it gave any, and where
    /// another took its place meanwhile.
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
            loop {
                let serving = keys.borrow_and_update().clone();
                if let Some(serving) = serving
                    && let Some(answer) = ask(serving).await
                {
                    return answer;
                }
                // The actor died, or its task did: another one will be there in a moment.
                tokio::select! {
                    Ok(()) = keys.changed() => {}
                    () = sleep(REPEAT_IN) => {}
                }
            }
        };
        match timeout_at(deadline.answer, asked).await {
            Ok(answer) => answer.map_err(|error| status::of_error(&error)),
            Err(_) => Err(status::no_answer()),
        }
    }
}

/// The actor's answer; `None` when it died before it gave one.
async fn ask_once<T: Send + 'static>(
    actor: ActorRef<KeyMsg>,
    message: &impl Fn(Reply<T>) -> KeyMsg,
) -> Option<Result<T, KeyError>> {
    let (reply, answer) = oneshot::channel();
    actor.cast(message(reply)).ok()?;
    answer.await.ok()
}
