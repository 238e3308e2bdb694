//! The children: how each is started, where the living ones are found, what outlives them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorRef, Message};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use super::restart::{Decision, Failures};
#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::admin::{self, AdminMsg, AdminServer};
use crate::config::Config;
use crate::grpc::{self, BoundSocket, Connections, Forwarder, GrpcMsg, GrpcServer};
use crate::keys::{self, KeyManager, KeyMsg, KeyView};
use crate::session::{self, Event, SessionMsg, SessionView, Sessions, VaultSession};
use crate::vault::Client;

/// An actor under the Supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Child {
    /// The login.
    Session,
    /// The keys.
    Keys,
    /// The socket.
    Grpc,
    /// The probes.
    Admin,
}

/// All of them, and what they share.
#[derive(Debug)]
pub(super) struct Children {
    session: Slot<SessionMsg>,
    keys: Slot<KeyMsg>,
    grpc: Slot<GrpcMsg>,
    admin: Slot<AdminMsg>,
    session_args: session::Arguments,
    keys_args: keys::Arguments,
    /// Gone once the socket is released.
    grpc_args: Option<grpc::Arguments>,
    admin_args: admin::Arguments,
    connections: Connections,
    failures: HashMap<Child, Failures>,
}

/// Where the living actor of a kind is found.
type Slot<M> = watch::Sender<Option<ActorRef<M>>>;

impl Child {
    /// In the order of their start.
    pub(super) const ALL: [Self; 4] = [Self::Session, Self::Keys, Self::Grpc, Self::Admin];
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session => "VaultSession",
            Self::Keys => "KeyManager",
            Self::Grpc => "GrpcServer",
            Self::Admin => "AdminServer",
        })
    }
}

impl Children {
    /// Prepares them; none is started.
    pub(super) fn new(config: &Config, client: Arc<Client>, socket: Arc<BoundSocket>) -> Self {
        let session_view = Arc::new(watch::Sender::new(SessionView::default()));
        let known = keys::load_state(
            &config.keys.state_file,
            &config.keys.key,
            &config.keys.decrypt_also,
        );
        let key_view = Arc::new(watch::Sender::new(known));
        let (session, keys) = (Slot::new(None), Slot::new(None));
        let connections = Connections::default();
        Self {
            session_args: session::Arguments {
                client: client.clone(),
                settings: Arc::new(config.auth.clone()),
                view: session_view.clone(),
            },
            keys_args: keys::Arguments {
                client,
                sessions: Sessions::new(session_view.subscribe(), session.subscribe()),
                settings: Arc::new(config.keys.clone()),
                view: key_view.clone(),
            },
            grpc_args: Some(grpc::Arguments {
                socket,
                connections: connections.clone(),
                peers: Arc::new(config.peers.clone()),
                forwarder: Forwarder::new(keys.subscribe(), config.max_waiting),
                kms_version: config.kms_version,
            }),
            admin_args: admin::Arguments {
                listen: config.admin,
                limits: config.keys.limits,
                sessions: session_view.subscribe(),
                keys: key_view.subscribe(),
            },
            session,
            keys,
            grpc: Slot::new(None),
            admin: Slot::new(None),
            connections,
            failures: HashMap::new(),
        }
    }

    /// Starts a child under the supervisor `parent`.
    pub(super) async fn start(&self, child: Child, parent: ActorCell) -> Result<(), String> {
        match child {
            Child::Session => {
                start(
                    &self.session,
                    VaultSession,
                    self.session_args.clone(),
                    parent,
                )
                .await
            }
            Child::Keys => start(&self.keys, KeyManager, self.keys_args.clone(), parent).await,
            Child::Admin => start(&self.admin, AdminServer, self.admin_args.clone(), parent).await,
            Child::Grpc => match self.grpc_args.clone() {
                Some(args) => start(&self.grpc, GrpcServer, args, parent).await,
                None => Ok(()),
            },
        }
    }

    /// Notes that the actor with this id is gone; `None` when it is not a current child.
    pub(super) fn buried(&self, id: ActorId) -> Option<Child> {
        let child = Child::ALL
            .into_iter()
            .find(|&child| self.cell(child).is_some_and(|cell| cell.get_id() == id))?;
        match child {
            Child::Session => drop(self.session.send_replace(None)),
            Child::Keys => drop(self.keys.send_replace(None)),
            Child::Grpc => drop(self.grpc.send_replace(None)),
            Child::Admin => drop(self.admin.send_replace(None)),
        }
        Some(child)
    }

    /// An operator asked: refused credentials are tried at once.
    pub(super) fn try_login_again(&self) {
        if let Some(session) = self.session.borrow().as_ref() {
            // One that is just dying is started again, and logs in.
            let _ = session.cast(SessionMsg::Happened(Event::TryAgain));
        }
    }

    /// Counts a failure and decides what follows. Probes never end the process.
    pub(super) fn failed(&mut self, child: Child, now: Instant) -> Decision {
        let failures = self.failures.entry(child).or_default();
        match child {
            Child::Admin => failures.note_harmless(now, fastrand::f64()),
            _ => failures.note(now, fastrand::f64()),
        }
    }

    /// Stops a child and waits for it.
    pub(super) async fn stop(&self, child: Child, limit: Duration) {
        let Some(cell) = self.cell(child) else { return };
        let limit = ractor::concurrency::Duration::from(limit);
        if cell.stop_and_wait(None, Some(limit)).await.is_err() {
            warn!(actor = %child, "did not stop in time");
        }
    }

    /// Lets go of the listener: the socket's file is removed with it.
    pub(super) fn release_socket(&mut self) {
        self.grpc_args = None;
    }

    /// What is known of the session and the key.
    pub(super) fn views(&self) -> (watch::Receiver<SessionView>, watch::Receiver<KeyView>) {
        (
            self.admin_args.sessions.clone(),
            self.admin_args.keys.clone(),
        )
    }

    pub(super) fn connections(&self) -> Connections {
        self.connections.clone()
    }

    #[cfg(feature = "faults")]
    pub(super) fn inject(&self, child: Child, fault: Fault) {
        let sent = match child {
            Child::Session => tell(&self.session, SessionMsg::Fail(fault)),
            Child::Keys => tell(&self.keys, KeyMsg::Fail(fault)),
            Child::Grpc => tell(&self.grpc, GrpcMsg::Fail(fault)),
            Child::Admin => tell(&self.admin, AdminMsg::Fail(fault)),
        };
        if !sent {
            warn!(actor = %child, "is not there to fail");
        }
    }

    fn cell(&self, child: Child) -> Option<ActorCell> {
        match child {
            Child::Session => cell(&self.session),
            Child::Keys => cell(&self.keys),
            Child::Grpc => cell(&self.grpc),
            Child::Admin => cell(&self.admin),
        }
    }
}

async fn start<A: Actor>(
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

fn cell<M: Message>(slot: &Slot<M>) -> Option<ActorCell> {
    slot.borrow().as_ref().map(ActorRef::get_cell)
}

#[cfg(feature = "faults")]
fn tell<M: Message>(slot: &Slot<M>, message: M) -> bool {
    let actor = slot.borrow().clone();
    actor.is_some_and(|actor| actor.cast(message).is_ok())
}
