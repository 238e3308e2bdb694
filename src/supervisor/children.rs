//! The children: how each is started and found, and what outlives them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorCell, ActorId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::backend::{self, Backend, Slot};
use super::changes::annotation;
use super::child::Child;
use super::heartbeat::{Heartbeats, Pulse};
use super::restart::{Decision, Failures};
use super::restart_policy::RestartPolicy;
#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::admin::{self, AdminMsg, AdminServer};
use crate::config::Config;
use crate::grpc::{self, BindError, BoundSocket, Connections, Forwarder, GrpcMsg, GrpcServer};
use crate::keys::{self, KeyManagerHandle, KeyMsg, SeedCache};
use crate::session::{Event, SessionMsg};
use crate::telemetry::ReloadStatus;
use crate::telemetry::events;
use crate::telemetry::metrics::Metrics;
use crate::vault::Client;

/// All children, and what they share.
#[derive(Debug)]
pub(super) struct Children {
    backend: Backend,
    /// The KeyManager that serves calls.
    serving: watch::Sender<Option<KeyManagerHandle>>,
    grpc: Slot<GrpcMsg>,
    admin: Slot<AdminMsg>,
    /// `None` once the socket is released.
    grpc_args: Option<grpc::Arguments>,
    admin_args: admin::Arguments,
    connections: Connections,
    metrics: Metrics,
    /// The outcome of the last reload.
    reloads: watch::Sender<Option<ReloadStatus>>,
    failures: HashMap<Child, Failures>,
    policy: RestartPolicy,
    heartbeats: Heartbeats,
}

impl Children {
    /// Prepares them; none is started.
    pub(super) fn new(
        config: &Config,
        client: Arc<Client>,
        socket: Arc<BoundSocket>,
        policy: RestartPolicy,
        metrics: Metrics,
        seed_cache: SeedCache,
    ) -> Self {
        let known = keys::load_state(&config.keys.state_file, &config.keys);
        let backend = Backend::new(config, client, known, seed_cache);
        backend.promote();
        let serving = watch::Sender::new(None);
        let reloads = watch::Sender::new(None);
        let connections = Connections::new(metrics.clone());
        for child in Child::ALL {
            metrics.actor(child.name());
        }
        stand_in(&metrics, config);
        let grpc = Slot::new(None);
        Self {
            grpc_args: Some(grpc::Arguments {
                socket,
                connections: connections.clone(),
                peers: Arc::new(config.peers.clone()),
                forwarder: Forwarder::new(serving.subscribe(), config.max_waiting, metrics.clone()),
                kms_version: config.kms_version,
                annotation: annotation(config),
            }),
            admin_args: admin::Arguments {
                listen: config.admin.clone(),
                drop_in: config.drop_in,
                grpc: grpc.subscribe(),
                method: config.auth.method.name(),
                last_reload: reloads.subscribe(),
                limits: config.keys.limits,
                client: backend.client().clone(),
                sessions: backend.session_view().subscribe(),
                keys: backend.keys_view().subscribe(),
                seed_cache: backend.seed_cache().clone(),
                connections: connections.clone(),
                metrics: metrics.clone(),
            },
            backend,
            serving,
            grpc,
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

    /// Records that the actor with this id has ended. Returns `None` if it is not a current child.
    pub(super) fn on_exit(&mut self, id: ActorId) -> Option<Child> {
        let child = Child::ALL
            .into_iter()
            .find(|&child| self.cell(child).is_some_and(|cell| cell.get_id() == id))?;
        self.vacate(child);
        Some(child)
    }

    /// Has no actor of this kind any more.
    fn vacate(&mut self, child: Child) {
        self.heartbeats.forget(child);
        match child {
            Child::Session => drop(self.backend.session.send_replace(None)),
            Child::Keys => {
                self.backend.keys.send_replace(None);
                self.serving.send_replace(None);
            }
            Child::Grpc => drop(self.grpc.send_replace(None)),
            Child::Admin => drop(self.admin.send_replace(None)),
        }
    }

    /// The current backend.
    pub(super) fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Serves from another backend. Returns the previous one.
    pub(super) fn replace_backend(&mut self, next: Backend, config: &Config) -> Backend {
        let before = std::mem::replace(&mut self.backend, next);
        // Calls in flight must not fill it again.
        before
            .seed_cache()
            .close("the settings of Vault, the login or the keys changed");
        self.backend.promote();
        self.serve_from_backend();
        self.admin_args = self.admin_args(config);
        for child in [Child::Session, Child::Keys] {
            self.failures.remove(&child);
            self.heartbeats.forget(child);
        }
        before
    }

    /// Sets the limits of the Status policy.
    pub(super) fn set_limits(&mut self, config: &Config) {
        self.backend.set_limits(config.keys.limits);
        self.serve_from_backend();
        self.admin_args = self.admin_args(config);
    }

    /// Restarts the admin server with this configuration.
    pub(super) async fn reconfigure_admin(&mut self, config: &Config, parent: ActorCell) {
        stand_in(&self.metrics, config);
        self.admin_args = self.admin_args(config);
        self.restart(Child::Admin, parent).await;
    }

    /// Restarts the listener with this configuration, on another socket if there is one.
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
        // Connections keep the annotation that they began with.
        let new_annotation = args.annotation != annotation(config);
        args.annotation = annotation(config);
        let (peers, socket) = (args.peers.clone(), args.socket.clone());
        let new_limit = args.forwarder.max_waiting() != config.max_waiting;
        if new_limit {
            args.forwarder = Forwarder::new(
                self.serving.subscribe(),
                config.max_waiting,
                self.metrics.clone(),
            );
        }
        self.restart(Child::Grpc, parent).await;
        // Only now: what connected before the restart was admitted by the previous configuration.
        let by_mode = socket.is_for_one_of(&peers.gids);
        self.connections.enforce(&peers, by_mode);
        if new_limit || new_annotation {
            self.connections.renew();
        }
    }

    /// Returns whether systemd passed the socket, and so sets its path and mode.
    pub(super) fn socket_is_passed(&self) -> bool {
        let args = self.grpc_args.as_ref();
        args.is_some_and(|args| args.socket.is_passed())
    }

    /// Sets the mode and owner of the socket's file. Whom the mode admitted before connects again, if it may.
    pub(super) fn set_socket_permissions(&self, config: &Config) -> Result<(), BindError> {
        let Some(args) = &self.grpc_args else {
            return Ok(());
        };
        let set = args.socket.set_permissions(&config.socket);
        self.connections.renew();
        set
    }

    /// Restarts a child on purpose, which counts as no failure.
    async fn restart(&mut self, child: Child, parent: ActorCell) {
        let cell = self.cell(child);
        self.heartbeats.forget(child);
        match child {
            Child::Grpc => drop(self.grpc.send_replace(None)),
            Child::Admin => drop(self.admin.send_replace(None)),
            Child::Session | Child::Keys => return,
        }
        backend::stop(cell, child).await;
        if let Err(reason) = self.start(child, parent).await {
            let actor = child.name();
            events::ActorNotStarted { actor, reason }.emit();
        }
    }

    /// How often every child gets a heartbeat.
    pub(super) fn heartbeat_interval(&self) -> Duration {
        self.policy.heartbeat_interval
    }

    /// Kills children that have not answered in time, and sends heartbeats to the others. Returns those
    /// that have ended without a supervision event.
    pub(super) fn check_heartbeats(&mut self) -> Vec<Child> {
        let mut ended = Vec::new();
        for child in Child::ALL {
            match self.heartbeats.check(child, &self.policy) {
                Pulse::Unresponsive(silence) => {
                    let actor = child.name();
                    events::ActorUnresponsive { actor }.emit();
                    self.failures.entry(child).or_default().hung(silence);
                    self.kill(child);
                }
                Pulse::Ended
                    if self
                        .cell(child)
                        .is_some_and(|cell| backend::has_ended(&cell)) =>
                {
                    self.vacate(child);
                    ended.push(child);
                }
                Pulse::Alive | Pulse::Ended => self.send_heartbeat(child),
            }
        }
        ended
    }

    fn send_heartbeat(&mut self, child: Child) {
        let backend = &self.backend;
        self.heartbeats.send(child, |reply| match child {
            Child::Session => backend::send(&backend.session, SessionMsg::Ping(reply)),
            Child::Keys => backend::send(&backend.keys, KeyMsg::Ping(reply)),
            Child::Grpc => backend::send(&self.grpc, GrpcMsg::Ping(reply)),
            Child::Admin => backend::send(&self.admin, AdminMsg::Ping(reply)),
        });
    }

    /// Returns whether every child answers, or has ended and is restarted.
    pub(super) fn all_answer(&self) -> bool {
        self.heartbeats.all_answer(&self.policy)
    }

    fn kill(&self, child: Child) {
        if let Some(cell) = self.cell(child) {
            cell.kill();
        }
    }

    /// Retries rejected credentials at once, because an operator asked for it.
    pub(super) fn retry_login(&self) {
        backend::send(&self.backend.session, SessionMsg::Happened(Event::RetryNow));
    }

    /// Records a failure and decides what follows. The admin server never ends the process.
    pub(super) fn failed(&mut self, child: Child, now: Instant) -> Decision {
        self.metrics.restarted(child.name());
        let failures = self.failures.entry(child).or_default();
        match child {
            Child::Admin => failures.record_unlimited(&self.policy, now, fastrand::f64()),
            _ => failures.record(&self.policy, now, fastrand::f64()),
        }
    }

    /// Stops a child and waits for it.
    pub(super) async fn stop(&self, child: Child) {
        backend::stop(self.cell(child), child).await;
    }

    /// Closes the listener, which removes the socket's file.
    pub(super) fn release_socket(&mut self) {
        self.grpc_args = None;
    }

    /// The arguments of the admin server for this configuration.
    fn admin_args(&self, config: &Config) -> admin::Arguments {
        admin::Arguments {
            listen: config.admin.clone(),
            drop_in: config.drop_in,
            method: config.auth.method.name(),
            limits: config.keys.limits,
            client: self.backend.client().clone(),
            sessions: self.backend.session_view().subscribe(),
            keys: self.backend.keys_view().subscribe(),
            seed_cache: self.backend.seed_cache().clone(),
            ..self.admin_args.clone()
        }
    }

    pub(super) fn reloads(&self) -> &watch::Sender<Option<ReloadStatus>> {
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
            Child::Session => backend::send(&self.backend.session, SessionMsg::Fail(fault)),
            Child::Keys => backend::send(&self.backend.keys, KeyMsg::Fail(fault)),
            Child::Grpc => backend::send(&self.grpc, GrpcMsg::Fail(fault)),
            Child::Admin => backend::send(&self.admin, AdminMsg::Fail(fault)),
        };
        if !sent {
            tracing::debug!(actor = %child, "no such actor at the moment");
        }
    }

    /// Whether a child is there that has not ended.
    pub(super) fn runs(&self, child: Child) -> bool {
        self.cell(child)
            .is_some_and(|cell| !backend::has_ended(&cell))
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

/// Counts under the names of the replaced plugin too, from now on.
fn stand_in(metrics: &Metrics, config: &Config) {
    let plugin = config.drop_in.map(|drop_in| drop_in.plugin);
    let key = &config.keys.key;
    metrics.stand_in_for(
        plugin,
        &["encrypt", "decrypt"].map(|operation| key.path(operation)),
    );
}
