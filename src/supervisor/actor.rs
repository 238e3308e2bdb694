//! The Supervisor's actor: what each message, and each end of a child, leads to.

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::child::Child;
use super::message::SupervisorMsg;
use super::state::{Arguments, State};
use crate::system::{Exit, notify};

/// The actor. Everything is in its state.
#[derive(Debug)]
pub struct Supervisor;

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
        Ok(State::new(args))
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
            // Children that hang are killed and restarted. The watchdog is for this actor, and for a child
            // that cannot even be killed.
            SupervisorMsg::Tick if state.args.children.all_answer() => notify::alive(),
            SupervisorMsg::Tick => {}
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
