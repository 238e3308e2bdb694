//! The KeyManager's state: carries out what the refresh orders.

use std::sync::Arc;

use ractor::{ActorProcessingErr, ActorRef};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::arguments::Arguments;
use super::candidates::Readers;
use super::local_encrypt;
use super::message::KeyMsg;
use super::operations::Operations;
use super::refresh::{self, CallObservation, Effect, Machine, RefreshEvent};
use super::state_file;
use crate::actor::{Timer, reap};
use crate::batch::Batcher;
use crate::system::clock::Moment;
use crate::telemetry::events;

/// The actor's state. What has to outlive a crash is in the view instead.
#[derive(Debug)]
pub struct State {
    pub(super) args: Arguments,
    pub(super) operations: Arc<Operations>,
    pub(super) readers: Readers,
    pub(super) machine: Machine,
    /// The `min_decryption_version` that was logged.
    minimum_logged: u32,
    /// Whether it was looked for an announced key that is not configured.
    unconfigured_logged: bool,
    /// Begins the next refresh.
    timer: Timer,
    pub(super) tasks: JoinSet<()>,
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
