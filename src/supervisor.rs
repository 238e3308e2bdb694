//! The Supervisor: owns the other actors, restarts those that fail, ends the process when one keeps
//! failing, and drains the calls in flight when it is asked to stop.

mod backend;
mod changes;
mod child;
mod children;
mod heartbeat;
mod reload;
mod restart;
mod restart_policy;
mod run;
mod status_line;

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Duration, Instant, timeout};
use tokio_util::sync::CancellationToken;

#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::config::{Config, Source};
use crate::system::{Exit, notify};
use crate::telemetry::LogHandle;
use crate::telemetry::events;
pub use child::Child;
use children::Children;
use reload::Reload;
pub use reload::{ReloadOutcome, ValidationOutcome};
use restart::Decision;
pub use restart_policy::RestartPolicy;
pub use run::{Daemon, StartError};

/// How long calls in flight may take once the process is asked to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// How long each actor may take to stop after that.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// The actor. Everything is in its state.
#[derive(Debug)]
pub struct Supervisor;

/// The actor's arguments.
#[derive(Debug)]
pub struct Arguments {
    children: Children,
    /// The running configuration.
    config: Box<Config>,
    source: Source,
    log: LogHandle,
    /// Cancelled by a second signal: stop now.
    quit: CancellationToken,
    /// Receives the exit code.
    exit: Arc<std::sync::OnceLock<Exit>>,
}

/// The actor's messages.
#[derive(Debug)]
pub enum SupervisorMsg {
    /// Start or restart a child.
    Start(Child),
    /// Read the configuration again.
    Reload,
    /// The configuration was read.
    Reloaded(ReloadOutcome),
    /// A new backend was validated.
    Validated(ValidationOutcome),
    /// Check the heartbeats of all children and send new ones.
    CheckHeartbeats,
    /// Drain and stop.
    Stop,
    /// Notify systemd's watchdog.
    Tick,
    /// Make a child fail.
    #[cfg(feature = "faults")]
    Inject(Child, Fault),
}

/// What the actor keeps.
#[derive(Debug)]
pub struct State {
    args: Arguments,
    stopping: bool,
    reload: Reload,
    status_line: Option<AbortHandle>,
    tasks: JoinSet<()>,
}

impl Actor for Supervisor {
    type Msg = SupervisorMsg;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMsg>,
        args: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        for child in Child::ALL {
            myself.cast(SupervisorMsg::Start(child))?;
        }
        myself.cast(SupervisorMsg::CheckHeartbeats)?;
        if let Some(period) = notify::watchdog_period() {
            myself.send_interval(period, || SupervisorMsg::Tick);
        }
        let reloads = args.children.reloads().clone();
        let mut state = State {
            args,
            stopping: false,
            reload: Reload::new(reloads),
            status_line: None,
            tasks: JoinSet::new(),
        };
        state.keep_status_line();
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMsg::Start(child) => state.start(&myself, child).await,
            SupervisorMsg::Reload => state.reload(&myself),
            SupervisorMsg::Reloaded(outcome) => state.reloaded(&myself, outcome).await,
            SupervisorMsg::Validated(outcome) => state.validated(&myself, outcome).await,
            SupervisorMsg::CheckHeartbeats => state.check_heartbeats(&myself),
            SupervisorMsg::Stop => state.stop(&myself, Exit::Ok),
            // Children that hang are killed and restarted; the watchdog is for this actor.
            SupervisorMsg::Tick => notify::alive(),
            #[cfg(feature = "faults")]
            SupervisorMsg::Inject(child, fault) => state.args.children.inject(child, fault),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, reason) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                (cell, reason.unwrap_or_else(|| "it ended".to_owned()))
            }
            _ => return Ok(()),
        };
        // While stopping, nothing is restarted.
        if state.stopping {
            return Ok(());
        }
        match state.args.children.on_exit(cell.get_id()) {
            Some(child) => state.restart(&myself, child, &reason),
            None => state.candidate_failed(&myself, cell.get_id(), &reason),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<SupervisorMsg>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.drain().await;
        Ok(())
    }
}

impl State {
    async fn start(&mut self, myself: &ActorRef<SupervisorMsg>, child: Child) {
        if self.stopping {
            return;
        }
        if let Err(reason) = self.args.children.start(child, myself.get_cell()).await {
            self.restart(myself, child, &reason);
        }
    }

    fn restart(&mut self, myself: &ActorRef<SupervisorMsg>, child: Child, reason: &str) {
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
    fn keep_status_line(&mut self) {
        if let Some(before) = self.status_line.take() {
            before.abort();
        }
        let backend = self.args.children.backend();
        let sessions = backend.session_view().subscribe();
        let keys = backend.keys_view().subscribe();
        let line = status_line::keep(sessions, keys, self.reload.last());
        self.status_line = Some(self.tasks.spawn(line));
    }

    fn check_heartbeats(&mut self, myself: &ActorRef<SupervisorMsg>) {
        self.args.children.check_heartbeats();
        myself.send_after(self.args.children.heartbeat_interval(), || {
            SupervisorMsg::CheckHeartbeats
        });
    }

    fn stop(&mut self, myself: &ActorRef<SupervisorMsg>, exit: Exit) {
        self.stopping = true;
        let _ = self.args.exit.set(exit);
        myself.stop(None);
    }

    /// In order: no new connections, the calls in flight, then the actors that served them.
    async fn drain(&mut self) {
        events::Stopping {}.emit();
        notify::stopping(DRAIN_LIMIT + 5 * STOP_LIMIT);
        self.args.children.stop(Child::Grpc, STOP_LIMIT).await;
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
        for child in [Child::Keys, Child::Session, Child::Admin] {
            self.args.children.stop(child, STOP_LIMIT).await;
        }
        events::Stopped {}.emit();
    }
}
