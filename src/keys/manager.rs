//! The KeyManager's state: hands calls to the batchers, and carries out what the refresh orders.

use std::pin::{self, pin};
use std::sync::Arc;

use ractor::{ActorProcessingErr, ActorRef};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::arguments::Arguments;
use super::candidates::{Choice, Readers};
use super::local_decrypt;
use super::local_encrypt;
use super::message::{
    DecryptCall, DecryptTogether, EncryptCall, EncryptedSeed, FailedDecrypt, KeyMsg, Pin, Reply,
};
use super::operations::{Candidate, DecryptCompletion, EncryptCompletion, Operations};
use super::refresh::{self, CallObservation, Effect, Machine, RefreshEvent};
use super::remembered;
use super::state_file;
use super::view::{Pinned, ProvenKey};
use crate::actor::{Timer, reap};
use crate::batch::{Batcher, Decrypt, Encrypt, Request, RetryPolicy};
use crate::system::clock::Moment;
use crate::telemetry::events;

/// The actor's state. What has to outlive a crash is in the view instead.
#[derive(Debug)]
pub struct State {
    args: Arguments,
    operations: Arc<Operations>,
    readers: Readers,
    machine: Machine,
    /// The `min_decryption_version` that was logged.
    minimum_logged: u32,
    /// Whether it was looked for an announced key that is not configured.
    unconfigured_logged: bool,
    /// Begins the next refresh.
    timer: Timer,
    tasks: JoinSet<()>,
    /// Writes the state file until `ending`.
    keeper: JoinSet<()>,
    ending: CancellationToken,
    /// Has a local KEK wrapped.
    kek: Option<AbortHandle>,
    /// The two batchers, whose end is a failure of the actor.
    batchers: JoinSet<()>,
}

impl State {
    pub(super) fn new(args: Arguments, myself: ActorRef<KeyMsg>) -> Self {
        let key = Arc::new(args.settings.key.clone());
        let also = args.settings.decrypt_also.iter().cloned().map(Arc::new);
        let readers: Vec<_> = std::iter::once(key.clone()).chain(also).collect();
        let bound = args.settings.bound.iter();
        let bound = bound.map(|it| (Arc::new(it.key.clone()), it.clone()));
        let readers = Readers {
            unbound: readers.into(),
            bound: bound.collect(),
        };
        let mut keeper = JoinSet::new();
        let ending = CancellationToken::new();
        keeper.spawn(state_file::keep(
            args.settings.state_file.clone(),
            args.view.subscribe(),
            args.serving.clone(),
            ending.clone(),
        ));
        let mut batchers = JoinSet::new();
        let (client, sessions) = (&args.client, &args.sessions);
        let max_in_flight = args.settings.max_in_flight;
        let encrypts = Batcher::spawn(
            client.clone(),
            sessions.clone(),
            max_in_flight,
            &mut batchers,
        );
        let decrypts = Batcher::spawn(
            client.clone(),
            sessions.clone(),
            max_in_flight,
            &mut batchers,
        );
        let accepted = args.settings.accept_replaced.clone();
        args.view
            .send_modify(|view| view.accepted_replacement.clone_from(&accepted));
        let machine = Machine::new(args.settings.key.clone(), accepted, &args.view.borrow())
            .with_suffix(args.settings.key_id_suffix.clone());
        Self {
            operations: Arc::new(Operations {
                client: client.clone(),
                sessions: sessions.clone(),
                encrypts,
                decrypts,
                key,
                view: args.view.clone(),
                seed_cache: args.seed_cache.clone(),
                manager: myself,
            }),
            readers,
            machine,
            minimum_logged: 0,
            unconfigured_logged: false,
            timer: Timer::default(),
            tasks: JoinSet::new(),
            keeper,
            ending,
            kek: None,
            batchers,
            args,
        }
    }

    /// Waits until what was announced is in the state file.
    pub(super) async fn finish(&mut self) {
        self.ending.cancel();
        let _ = self.keeper.join_next().await;
    }

    pub(super) fn reap(&mut self) -> Result<(), ActorProcessingErr> {
        reap(&mut self.tasks)?;
        reap(&mut self.keeper)?;
        match self.batchers.try_join_next() {
            None => Ok(()),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(())) => Err("a batcher ended".into()),
        }
    }

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

    pub(super) fn observed(&mut self, observation: CallObservation) {
        self.refresh(RefreshEvent::Observed(observation));
    }

    /// Goes on from the view, which may hold more by now than the candidate had found out.
    pub(super) fn promoted(&mut self) {
        let view = self.args.view.borrow().clone();
        if let Some(entry) = self.machine.promote(&view, Instant::now()) {
            entry.emit();
        }
        self.set_timer();
    }

    /// Hands an event to the refresh machine, and carries out what follows.
    pub(super) fn refresh(&mut self, event: RefreshEvent) {
        if matches!(event, RefreshEvent::Due) {
            self.timer.fired();
        }
        let now = Instant::now();
        let last_encrypted = self.args.view.borrow().last_encrypted;
        let effects = self
            .machine
            .after(event, last_encrypted, now, fastrand::f64());
        for effect in effects {
            self.carry_out(effect);
        }
        self.set_timer();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Call(call) => {
                let operations = self.operations.clone();
                self.tasks.spawn(async move {
                    let event = refresh::call(&operations, call).await;
                    // The actor may have stopped meanwhile; then nobody needs the outcome.
                    let _ = operations.manager.cast(KeyMsg::Refresh(event));
                });
            }
            Effect::Publish(publication) => {
                if publication.is_proof() {
                    self.args.seed_cache.proved(&self.args.settings.key);
                }
                self.args
                    .view
                    .send_modify(|view| publication.apply(view, Moment::now()));
                self.note_revocation();
                self.prepare_kek();
                self.note_minimum();
                self.note_unconfigured();
            }
            Effect::Log(entry) if *self.args.serving.borrow() => entry.emit(),
            Effect::Log(entry) => tracing::debug!(?entry, "candidate"),
            Effect::ReportDenied => self.args.sessions.report_denied(),
        }
    }

    /// Has a local KEK wrapped for the version that the next Status announces, if one is wanted.
    fn prepare_kek(&mut self) {
        let view = self.args.view.borrow();
        let is_busy = self.kek.as_ref().is_some_and(|task| !task.is_finished());
        let works = view.fault.is_none() && *self.args.serving.borrow();
        let Some(proven) = view.proven.clone().filter(|_| works && !is_busy) else {
            return;
        };
        if self.args.seed_cache.needs_kek(&proven) {
            let prepared = local_encrypt::prepare(self.operations.clone(), proven);
            self.kek = Some(self.tasks.spawn(prepared));
        }
    }

    /// What the refresh met ends, or suspends, answers from the seed cache.
    fn note_revocation(&self) {
        let view = self.args.view.borrow();
        let cache = &self.args.seed_cache;
        match &view.fault {
            Some(fault) if fault.verdict => cache.wipe("a verdict on the writing key"),
            Some(fault) if fault.error.may_be_revocation() || fault.error.is_replaced() => {
                cache.suspend_all();
            }
            _ => cache.expire(),
        }
    }

    /// Logs, once for each value, that Vault does not decrypt what was announced before.
    fn note_minimum(&mut self) {
        let view = self.args.view.borrow();
        let minimum = view.min_decryption_version;
        let is_new = minimum > self.minimum_logged && *self.args.serving.borrow();
        if is_new && let Some(key_id) = view.key_ids.below_minimum(&self.args.settings.key, minimum)
        {
            self.minimum_logged = minimum;
            events::AnnouncedBelowMinimum {
                minimum,
                key_id: key_id.to_string(),
            }
            .emit();
        }
    }

    /// Logs, once, that a key was announced which is not configured any more.
    fn note_unconfigured(&mut self) {
        if self.unconfigured_logged || !*self.args.serving.borrow() {
            return;
        }
        self.unconfigured_logged = true;
        let view = self.args.view.borrow();
        let keys: Vec<_> = self.readers.unbound.iter().map(|key| &**key).collect();
        if let Some(key_id) = view.key_ids.of_no_key(&keys) {
            events::AnnouncedKeyNotConfigured {
                key_id: key_id.to_string(),
            }
            .emit();
        }
    }

    fn set_timer(&mut self) {
        let manager = &self.operations.manager;
        self.timer.set(self.machine.due(), Instant::now(), |wait| {
            let event = || KeyMsg::Refresh(RefreshEvent::Due);
            manager.send_after(wait, event).abort_handle()
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
