//! A backend: a VaultSession and a KeyManager, where each is found, and what outlives their crashes.
//! A reload validates a second one before it stops the first.

use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorId, ActorRef, ActorStatus, Message};
use tokio::sync::watch;

use super::child::Child;
use crate::config::Config;
use crate::keys::{
    self, HealthLimits, KeyManager, KeyManagerHandle, KeyMsg, KeyView, SeedCache, StatusHandle,
};
use crate::session::{self, SessionMsg, SessionView, Sessions, VaultSession};
use crate::telemetry::events;
use crate::vault::Client;

/// Holds the current actor of a kind.
pub(super) type Slot<M> = watch::Sender<Option<ActorRef<M>>>;

/// Both actors and their views.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) session: Slot<SessionMsg>,
    pub(super) keys: Slot<KeyMsg>,
    session_args: session::Arguments,
    keys_args: keys::Arguments,
    serving: watch::Sender<bool>,
}

impl Backend {
    /// Prepares both; neither is started. `known`: what is already known about the key.
    pub(super) fn new(
        config: &Config,
        client: Arc<Client>,
        known: KeyView,
        seed_cache: SeedCache,
    ) -> Self {
        let session_view = Arc::new(watch::Sender::new(SessionView::default()));
        let session = Slot::new(None);
        let keys = Slot::new(None);
        let sessions = Sessions::new(session_view.subscribe(), session.subscribe());
        let serving = watch::Sender::new(false);
        Self {
            session_args: session::Arguments {
                client: client.clone(),
                settings: Arc::new(config.auth.clone()),
                view: session_view,
                serving: serving.subscribe(),
            },
            keys_args: keys::Arguments {
                client,
                sessions,
                settings: Arc::new(config.keys.clone()),
                view: Arc::new(watch::Sender::new(known)),
                seed_cache,
                serving: serving.subscribe(),
            },
            serving,
            session,
            keys,
        }
    }

    pub(super) async fn start_session(&self, parent: ActorCell) -> Result<(), String> {
        start(
            &self.session,
            VaultSession,
            self.session_args.clone(),
            parent,
        )
        .await
    }

    pub(super) async fn start_keys(&self, parent: ActorCell) -> Result<(), String> {
        start(&self.keys, KeyManager, self.keys_args.clone(), parent).await
    }

    /// Has both serve from now on: the KeyManager writes the state file, and logs.
    pub(super) fn promote(&self) {
        self.serving.send_replace(true);
        send(&self.keys, KeyMsg::Promoted);
    }

    /// Which of the two has this id.
    pub(super) fn owner_of(&self, id: ActorId) -> Option<Child> {
        let is = |cell: Option<ActorCell>| cell.is_some_and(|cell| cell.get_id() == id);
        if is(cell(&self.session)) {
            return Some(Child::Session);
        }
        is(cell(&self.keys)).then_some(Child::Keys)
    }

    /// Which of the two has ended, if one has.
    pub(super) fn ended(&self) -> Option<Child> {
        let is_over = |cell: Option<ActorCell>| cell.is_none_or(|cell| has_ended(&cell));
        if is_over(cell(&self.session)) {
            return Some(Child::Session);
        }
        is_over(cell(&self.keys)).then_some(Child::Keys)
    }

    /// The KeyManager. Returns `None` while it restarts.
    pub(super) fn serving(&self) -> Option<KeyManagerHandle> {
        let actor = self.keys.borrow().clone()?;
        let status_handle = StatusHandle::new(&self.keys_args);
        Some(KeyManagerHandle {
            actor,
            status_handle,
        })
    }

    /// What is known about the key.
    pub(super) fn keys_view(&self) -> &watch::Sender<KeyView> {
        &self.keys_args.view
    }

    /// The key_id of a replaced key that its configuration accepts.
    pub(super) fn accepted_replacement(&self) -> Option<String> {
        self.keys_args.settings.accept_replaced.clone()
    }

    /// What answers while Vault is away.
    pub(super) fn seed_cache(&self) -> &SeedCache {
        &self.keys_args.seed_cache
    }

    /// The client of Vault.
    pub(super) fn client(&self) -> &Arc<Client> {
        &self.keys_args.client
    }

    /// The state of the session.
    pub(super) fn session_view(&self) -> &watch::Sender<SessionView> {
        &self.session_args.view
    }

    /// Sets the limits of the Status policy for later calls of [`Self::serving`].
    pub(super) fn set_limits(&mut self, limits: HealthLimits) {
        Arc::make_mut(&mut self.keys_args.settings).limits = limits;
    }

    /// Another one serves from now on: this one writes no file any more.
    pub(super) fn give_way(&self) {
        self.serving.send_replace(false);
    }

    /// Stops both: the KeyManager first, which uses the session. The token of the `serving` backend
    /// is not revoked.
    pub(super) async fn stop(&self, serving: &watch::Receiver<SessionView>) {
        stop(cell(&self.keys), Child::Keys).await;
        let used = serving.borrow().current.clone();
        let used = used.map(|session| session.token.clone());
        let view = self.session_view();
        view.send_modify(|view| view.used_elsewhere = used);
        stop(cell(&self.session), Child::Session).await;
    }
}

/// Starts an actor under `parent` and publishes its reference.
pub(super) async fn start<A: Actor>(
    slot: &Slot<A::Msg>,
    actor: A,
    args: A::Arguments,
    parent: ActorCell,
) -> Result<(), String> {
    let spawned = Actor::spawn_linked(None, actor, args, parent).await;
    let (actor, _) = spawned.map_err(|error| error.to_string())?;
    slot.send_replace(Some(actor));
    Ok(())
}

/// Stops an actor and waits for it.
pub(super) async fn stop(cell: Option<ActorCell>, child: Child) {
    let Some(cell) = cell else { return };
    let limit = ractor::concurrency::Duration::from(child.stop_limit());
    if cell.stop_and_wait(None, Some(limit)).await.is_err() {
        events::ActorLate {
            actor: child.name(),
        }
        .emit();
    }
}

/// Returns whether an actor has ended, or is about to.
pub(super) fn has_ended(cell: &ActorCell) -> bool {
    matches!(
        cell.get_status(),
        ActorStatus::Stopping | ActorStatus::Stopped
    )
}

pub(super) fn cell<M: Message>(slot: &Slot<M>) -> Option<ActorCell> {
    slot.borrow().as_ref().map(ActorRef::get_cell)
}

/// Sends a message to the current actor. Returns whether there is one.
pub(super) fn send<M: Message>(slot: &Slot<M>, message: M) -> bool {
    let actor = slot.borrow().clone();
    actor.is_some_and(|actor| actor.cast(message).is_ok())
}
