//! The children: how each is started, where the living ones are found, what outlives them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorCell, ActorId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::backend::{self, Backend, Slot};
use super::heartbeat::Heartbeats;
use super::restart::{Decision, Failures};
use super::restart_policy::RestartPolicy;
#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::admin::{self, AdminMsg, AdminServer};
use crate::config::Config;
use crate::grpc::{self, BindError, BoundSocket, Connections, Forwarder, GrpcMsg, GrpcServer};
use crate::keys::{self, KeyManagerHandle, KeyMsg};
use crate::session::{Event, SessionMsg};
use crate::telemetry::events;
use crate::telemetry::metrics::Metrics;
use crate::vault::Client;

/// How long an actor may take to stop that is started again on purpose.
const RESTART_LIMIT: Duration = Duration::from_secs(1);

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
    backend: Backend,
    /// Where calls find the KeyManager that serves them.
    serving: watch::Sender<Option<KeyManagerHandle>>,
    grpc: Slot<GrpcMsg>,
    admin: Slot<AdminMsg>,
    /// Gone once the socket is released.
    grpc_args: Option<grpc::Arguments>,
    admin_args: admin::Arguments,
    connections: Connections,
    metrics: Metrics,
    /// Where each reload is told.
    reloads: watch::Sender<Option<admin::report::Reload>>,
    failures: HashMap<Child, Failures>,
    policy: RestartPolicy,
    heartbeats: Heartbeats,
}

impl Child {
    /// In the order of their start.
    pub const ALL: [Self; 4] = [Self::Session, Self::Keys, Self::Grpc, Self::Admin];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Session => "VaultSession",
            Self::Keys => "KeyManager",
            Self::Grpc => "GrpcServer",
            Self::Admin => "AdminServer",
        }
    }
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Children {
    /// Prepares them; none is started.
    pub(super) fn new(
        config: &Config,
        client: Arc<Client>,
        socket: Arc<BoundSocket>,
        policy: RestartPolicy,
        metrics: Metrics,
    ) -> Self {
        let known = keys::load_state(
            &config.keys.state_file,
            &config.keys.key,
            &config.keys.decrypt_also,
        );
        let backend = Backend::new(config, client, known);
        let serving = watch::Sender::new(None);
        let reloads = watch::Sender::new(None);
        let connections = Connections::new(metrics.clone());
        for child in Child::ALL {
            metrics.actor(child.name());
        }
        Self {
            grpc_args: Some(grpc::Arguments {
                socket,
                connections: connections.clone(),
                peers: Arc::new(config.peers.clone()),
                forwarder: Forwarder::new(serving.subscribe(), config.max_waiting, metrics.clone()),
                kms_version: config.kms_version,
            }),
            admin_args: admin::Arguments {
                listen: config.admin.clone(),
                method: config.auth.method.name(),
                last_reload: reloads.subscribe(),
                limits: config.keys.limits,
                client: backend.client().clone(),
                sessions: backend.session_view().subscribe(),
                keys: backend.keys_view().subscribe(),
                connections: connections.clone(),
                metrics: metrics.clone(),
            },
            backend,
            serving,
            grpc: Slot::new(None),
            admin: Slot::new(None),
            connections,
            metrics,
            reloads,
            failures: HashMap::new(),
            policy,
            heartbeats: Heartbeats::default(),
        }
    }

    /// Starts a child under the supervisor `parent`.
    pub(super) async fn start(&self, child: Child, parent: ActorCell) -> Result<(), String> {
        match child {
            Child::Session => self.backend.start_session(parent).await,
            Child::Keys => {
                self.backend.start_keys(parent).await?;
                self.serve_from_backend();
                Ok(())
            }
            Child::Admin => {
                backend::start(&self.admin, AdminServer, self.admin_args.clone(), parent).await
            }
            Child::Grpc => match self.grpc_args.clone() {
                Some(args) => backend::start(&self.grpc, GrpcServer, args, parent).await,
                None => Ok(()),
            },
        }
    }

    fn serve_from_backend(&self) {
        self.serving.send_replace(self.backend.serving());
    }

    /// Notes that the actor with this id is gone; `None` when it is not a current child.
    pub(super) fn on_exit(&self, id: ActorId) -> Option<Child> {
        let child = Child::ALL
            .into_iter()
            .find(|&child| self.cell(child).is_some_and(|cell| cell.get_id() == id))?;
        match child {
            Child::Session => drop(self.backend.session.send_replace(None)),
            Child::Keys => {
                self.backend.keys.send_replace(None);
                self.serving.send_replace(None);
            }
            Child::Grpc => drop(self.grpc.send_replace(None)),
            Child::Admin => drop(self.admin.send_replace(None)),
        }
        Some(child)
    }

    /// The way to Vault that serves.
    pub(super) fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Serves from another one from now on; the one before.
    pub(super) fn change_backend(&mut self, next: Backend, config: &Config) -> Backend {
        let before = std::mem::replace(&mut self.backend, next);
        self.serve_from_backend();
        self.admin_args = self.admin_args(config);
        for child in [Child::Session, Child::Keys] {
            self.failures.remove(&child);
        }
        before
    }

    /// Has Status go by these limits from now on.
    pub(super) fn set_limits(&mut self, config: &Config) {
        self.backend.set_limits(config.keys.limits);
        self.serve_from_backend();
        self.admin_args = self.admin_args(config);
    }

    /// Starts the probes again, where they are to be served by now.
    pub(super) async fn move_admin(&mut self, config: &Config, parent: ActorCell) {
        self.admin_args = self.admin_args(config);
        self.start_again(Child::Admin, parent).await;
    }

    /// Admits as this configuration says from now on, on another socket if there is one.
    pub(super) async fn reconfigure_listener(
        &mut self,
        config: &Config,
        socket: Option<BoundSocket>,
        parent: ActorCell,
    ) {
        let Some(args) = &mut self.grpc_args else {
            return;
        };
        if let Some(socket) = socket {
            args.socket = Arc::new(socket);
        }
        args.peers = Arc::new(config.peers.clone());
        args.forwarder = Forwarder::new(
            self.serving.subscribe(),
            config.max_waiting,
            self.metrics.clone(),
        );
        self.start_again(Child::Grpc, parent).await;
    }

    /// Whether the socket is systemd's, and its place and mode with it.
    pub(super) fn socket_is_passed(&self) -> bool {
        let args = self.grpc_args.as_ref();
        args.is_some_and(|args| args.socket.is_passed())
    }

    /// Gives the socket's file another mode or owner.
    pub(super) fn dress_socket(&self, config: &Config) -> Result<(), BindError> {
        match &self.grpc_args {
            Some(args) => args.socket.dress(&config.socket),
            None => Ok(()),
        }
    }

    /// A planned restart: it is no failure, and what fails is restarted like any other.
    async fn start_again(&self, child: Child, parent: ActorCell) {
        let cell = self.cell(child);
        match child {
            Child::Grpc => drop(self.grpc.send_replace(None)),
            Child::Admin => drop(self.admin.send_replace(None)),
            Child::Session | Child::Keys => return,
        }
        backend::stop(cell, child, RESTART_LIMIT).await;
        if let Err(reason) = self.start(child, parent).await {
            let actor = child.name();
            events::ActorNotStarted { actor, reason }.emit();
        }
    }

    /// How often every child is asked whether it is there.
    pub(super) fn heartbeat_interval(&self) -> Duration {
        self.policy.heartbeat_interval
    }

    /// Kills those that gave no answer in time, and asks the others. Whether all are well.
    pub(super) fn check_heartbeats(&mut self) -> bool {
        for child in Child::ALL {
            if self.heartbeats.hangs(child, &self.policy) {
                events::ActorUnresponsive {
                    actor: child.name(),
                }
                .emit();
                self.heartbeats.forget(child);
                self.kill(child);
                continue;
            }
            let (backend, heartbeats) = (&self.backend, &mut self.heartbeats);
            heartbeats.ask(child, |reply| {
                // A child that is being started again is not there to ask.
                match child {
                    Child::Session => backend::tell(&backend.session, SessionMsg::Ping(reply)),
                    Child::Keys => backend::tell(&backend.keys, KeyMsg::Ping(reply)),
                    Child::Grpc => backend::tell(&self.grpc, GrpcMsg::Ping(reply)),
                    Child::Admin => backend::tell(&self.admin, AdminMsg::Ping(reply)),
                };
            });
        }
        self.heartbeats.all_responding(&self.policy)
    }

    fn kill(&self, child: Child) {
        if let Some(cell) = self.cell(child) {
            cell.kill();
        }
    }

    /// An operator asked: refused credentials are tried at once.
    pub(super) fn try_login_again(&self) {
        backend::tell(&self.backend.session, SessionMsg::Happened(Event::RetryNow));
    }

    /// Counts a failure and decides what follows. Probes never end the process.
    pub(super) fn failed(&mut self, child: Child, now: Instant) -> Decision {
        self.metrics.restarted(child.name());
        let failures = self.failures.entry(child).or_default();
        match child {
            Child::Admin => failures.note_harmless(&self.policy, now, fastrand::f64()),
            _ => failures.note(&self.policy, now, fastrand::f64()),
        }
    }

    /// Stops a child and waits for it.
    pub(super) async fn stop(&self, child: Child, limit: Duration) {
        backend::stop(self.cell(child), child, limit).await;
    }

    /// Lets go of the listener: the socket's file is removed with it.
    pub(super) fn release_socket(&mut self) {
        self.grpc_args = None;
    }

    /// What the probes need that serve as `config` says.
    fn admin_args(&self, config: &Config) -> admin::Arguments {
        admin::Arguments {
            listen: config.admin.clone(),
            method: config.auth.method.name(),
            limits: config.keys.limits,
            client: self.backend.client().clone(),
            sessions: self.backend.session_view().subscribe(),
            keys: self.backend.keys_view().subscribe(),
            ..self.admin_args.clone()
        }
    }

    pub(super) fn reloads(&self) -> &watch::Sender<Option<admin::report::Reload>> {
        &self.reloads
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn connections(&self) -> Connections {
        self.connections.clone()
    }

    #[cfg(feature = "faults")]
    pub(super) fn inject(&self, child: Child, fault: Fault) {
        if fault == Fault::Kill {
            return self.kill(child);
        }
        let sent = match child {
            Child::Session => backend::tell(&self.backend.session, SessionMsg::Fail(fault)),
            Child::Keys => backend::tell(&self.backend.keys, KeyMsg::Fail(fault)),
            Child::Grpc => backend::tell(&self.grpc, GrpcMsg::Fail(fault)),
            Child::Admin => backend::tell(&self.admin, AdminMsg::Fail(fault)),
        };
        if !sent {
            tracing::debug!(actor = %child, "is not there to fail");
        }
    }

    fn cell(&self, child: Child) -> Option<ActorCell> {
        match child {
            Child::Session => backend::cell(&self.backend.session),
            Child::Keys => backend::cell(&self.backend.keys),
            Child::Grpc => backend::cell(&self.grpc),
            Child::Admin => backend::cell(&self.admin),
        }
    }
}
