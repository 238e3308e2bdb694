//! What the Supervisor keeps: the children, the running configuration, and how both end.

use std::sync::{Arc, OnceLock};

use ractor::ActorRef;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Duration, Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::child::Child;
use super::children::Children;
use super::message::SupervisorMsg;
use super::reload::stage::Reload;
use super::restart::Decision;
use super::status_line;
use crate::config::{Config, Source};
use crate::system::{Exit, notify};
use crate::telemetry::LogHandle;
use crate::telemetry::events;

/// How long calls in flight may take once the process is asked to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// The actor's arguments.
#[derive(Debug)]
pub struct Arguments {
    pub(super) children: Children,
    /// The running configuration.
    pub(super) config: Box<Config>,
    pub(super) source: Source,
    pub(super) log: LogHandle,
    /// Cancelled by a second signal: stop now.
    pub(super) quit: CancellationToken,
    /// Receives the exit code.
    pub(super) exit: Arc<OnceLock<Exit>>,
}

/// What the actor keeps.
#[derive(Debug)]
pub struct State {
    pub(super) args: Arguments,
    pub(super) stopping: bool,
    pub(super) reload: Reload,
    status_line: Option<AbortHandle>,
    pub(super) tasks: JoinSet<()>,
}

impl State {
    /// The state of a Supervisor whose children are not started yet.
    pub(super) fn new(args: Arguments) -> Self {
        let reloads = args.children.reloads().clone();
        let mut state = Self {
            args,
            stopping: false,
            reload: Reload::new(reloads),
            status_line: None,
            tasks: JoinSet::new(),
        };
        state.keep_status_line();
        state
    }

    pub(super) async fn start(&mut self, myself: &ActorRef<SupervisorMsg>, child: Child) {
        // A reload may have started it meanwhile: a second one would take its place without ending it.
        if self.stopping || self.args.children.runs(child) {
            return;
        }
        if let Err(reason) = self.args.children.start(child, myself.get_cell()).await {
            self.restart(myself, child, &reason);
        }
    }

    pub(super) fn restart(&mut self, myself: &ActorRef<SupervisorMsg>, child: Child, reason: &str) {
        match self.args.children.failed(child, Instant::now()) {
            Decision::RestartIn(wait) => {
                events::ActorFailed {
                    actor: child.name(),
                    reason: reason.to_owned(),
                    wait_ms: wait.as_millis() as u64,
                }
                .emit();
                myself.send_after(wait, move || SupervisorMsg::Start(child));
            }
            Decision::GiveUp => {
                events::ActorKeepsFailing {
                    actor: child.name(),
                    reason: reason.to_owned(),
                }
                .emit();
                self.stop(myself, Exit::Internal);
            }
        }
    }

    /// Keeps the status line of systemd in step with the current backend.
    pub(super) fn keep_status_line(&mut self) {
        if let Some(before) = self.status_line.take() {
            before.abort();
        }
        let backend = self.args.children.backend();
        let sessions = backend.session_view().subscribe();
        let keys = backend.keys_view().subscribe();
        let line = status_line::keep(sessions, keys, self.reload.last());
        self.status_line = Some(self.tasks.spawn(line));
    }

    pub(super) fn check_heartbeats(&mut self, myself: &ActorRef<SupervisorMsg>) {
        for child in self.args.children.check_heartbeats() {
            self.restart(myself, child, "it has ended");
        }
        myself.send_after(self.args.children.heartbeat_interval(), || {
            SupervisorMsg::CheckHeartbeats
        });
    }

    pub(super) fn stop(&mut self, myself: &ActorRef<SupervisorMsg>, exit: Exit) {
        self.stopping = true;
        let _ = self.args.exit.set(exit);
        myself.stop(None);
    }

    /// In order: no new connections, the calls in flight, then the actors that served them.
    pub(super) async fn drain(&mut self) {
        events::Stopping {}.emit();
        // The actors of a candidate stop before those that serve.
        let actors: Duration = Child::ALL.into_iter().map(Child::stop_limit).sum();
        notify::stopping(DRAIN_LIMIT + 2 * actors);
        self.args.children.stop(Child::Grpc).await;
        self.args.children.release_socket();
        let connections = self.args.children.connections();
        tokio::select! {
            drained = timeout(DRAIN_LIMIT, connections.drain()) => if drained.is_err() {
                events::DrainTimedOut { connections: connections.count() }.emit();
            },
            () = self.args.quit.cancelled() => {
                events::StoppingNow { connections: connections.count() }.emit();
            }
        }
        if let Some(candidate) = self.reload.abandon() {
            let serving = self.args.children.backend().session_view().subscribe();
            candidate.stop(&serving).await;
        }
        let cache = self.args.children.backend().seed_cache();
        cache.close("the plugin stops");
        for child in [Child::Keys, Child::Session, Child::Admin] {
            self.args.children.stop(child).await;
        }
        events::Stopped {}.emit();
    }
}

/// Logs what works but may have to be corrected.
pub(super) fn log_warnings(config: &Config) {
    for warning in &config.warnings {
        let warning = warning.clone();
        events::ConfigurationWarning { warning }.emit();
    }
}
