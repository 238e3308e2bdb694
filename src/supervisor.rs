//! The Supervisor: owns the other actors, restarts what fails, ends the process when one fails
//! again and again, and drains what is in flight when asked to stop.

mod children;
mod restart;
mod run;
mod status_line;

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::config::{Config, Source};
use crate::system::{Exit, notify};
use crate::telemetry::LogLevel;
pub use children::Child;
use children::Children;
use restart::Decision;
pub use run::{Daemon, StartError};

/// How long calls in flight may take once the process is asked to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// How long each actor may take to stop after that.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// The actor. It holds nothing: all is in its state.
#[derive(Debug)]
pub struct Supervisor;

/// What the actor needs.
#[derive(Debug)]
pub struct Arguments {
    children: Children,
    source: Source,
    log: LogLevel,
    /// Cancelled by a second signal: stop now.
    quit: CancellationToken,
    /// Where the exit code goes.
    exit: Arc<std::sync::OnceLock<Exit>>,
}

/// The actor's messages.
#[derive(Debug)]
pub enum SupervisorMsg {
    /// Start a child, or start it again.
    Start(Child),
    /// Read the configuration again.
    Reload,
    /// The configuration was read.
    Reloaded(ReloadOutcome),
    /// Drain and stop.
    Stop,
    /// Tell systemd's watchdog that the Supervisor is alive.
    Tick,
    /// Make a child fail.
    #[cfg(feature = "faults")]
    Inject(Child, Fault),
}

/// What a reload found.
#[derive(Debug)]
pub struct ReloadOutcome(Result<Box<Config>, String>);

/// What the actor keeps.
#[derive(Debug)]
pub struct State {
    args: Arguments,
    stopping: bool,
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
        if let Some(period) = notify::watchdog_period() {
            myself.send_interval(period, || SupervisorMsg::Tick);
        }
        let mut tasks = JoinSet::new();
        let (sessions, keys) = args.children.views();
        tasks.spawn(status_line::keep(sessions, keys));
        Ok(State {
            args,
            stopping: false,
            tasks,
        })
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
            SupervisorMsg::Reloaded(outcome) => state.reloaded(outcome),
            SupervisorMsg::Stop => state.stop(&myself, Exit::Ok),
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
        // A stale event must not restart a fresh child, nor one that is being stopped.
        if !state.stopping
            && let Some(child) = state.args.children.buried(cell.get_id())
        {
            state.restart(&myself, child, &reason);
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
                warn!(actor = %child, reason, wait_ms = wait.as_millis() as u64, "an actor failed, restarting it");
                myself.send_after(wait, move || SupervisorMsg::Start(child));
            }
            Decision::GiveUp => {
                error!(actor = %child, reason, "an actor fails again and again, leaving the restart to systemd or kubelet");
                self.stop(myself, Exit::Internal);
            }
        }
    }

    fn stop(&mut self, myself: &ActorRef<SupervisorMsg>, exit: Exit) {
        self.stopping = true;
        let _ = self.args.exit.set(exit);
        myself.stop(None);
    }

    /// In order: no new connections, the calls in flight, then who served them.
    async fn drain(&mut self) {
        info!("stopping");
        notify::stopping(DRAIN_LIMIT + 5 * STOP_LIMIT);
        self.args.children.stop(Child::Grpc, STOP_LIMIT).await;
        self.args.children.release_socket();
        let connections = self.args.children.connections();
        tokio::select! {
            drained = timeout(DRAIN_LIMIT, connections.drain()) => if drained.is_err() {
                warn!(connections = connections.count(), "calls in flight did not end in time");
            },
            () = self.args.quit.cancelled() => {
                warn!(connections = connections.count(), "second signal, stopping now");
            }
        }
        for child in [Child::Keys, Child::Session, Child::Admin] {
            self.args.children.stop(child, STOP_LIMIT).await;
        }
        info!("stopped");
    }

    fn reload(&mut self, myself: &ActorRef<SupervisorMsg>) {
        let (source, myself) = (self.args.source.clone(), myself.clone());
        self.tasks.spawn_blocking(move || {
            let outcome = source.load().map(Box::new).map_err(|e| e.to_string());
            let _ = myself.cast(SupervisorMsg::Reloaded(ReloadOutcome(outcome)));
        });
    }

    /// For now the log level is all that a reload changes.
    fn reloaded(&mut self, ReloadOutcome(outcome): ReloadOutcome) {
        while self.tasks.try_join_next().is_some() {}
        let applied = outcome.and_then(|config| {
            let set = self.args.log.set(config.log.level);
            set.map(|()| config.log.level).map_err(|e| e.to_string())
        });
        match applied {
            Ok(level) => {
                self.args.children.try_login_again();
                info!(%level, "configuration read again: the log level is applied, all else needs a restart")
            }
            Err(error) => error!(%error, "configuration refused, everything stays as it was"),
        }
    }
}
