//! VaultSession: logs in, renews, logs in again; publishes the session in a `watch`.
//!
//! Neither an error of Vault nor its silence is a failure of this actor: it waits and retries.

mod active_token;
mod credentials;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod login;
mod machine;
mod message;
mod preflight;
mod schedule;
mod secret_id_store;
mod state;
mod view;

use ractor::{Actor, ActorProcessingErr, ActorRef};

pub use active_token::ActiveToken;
pub use credentials::Credential;
pub use login::spiffe;
pub use login::{
    AppRole, Cert, Claims, Jwt, JwtSource, Method, SecretId, Settings, Userpass, Wrapped,
};
pub use machine::{Event, Failure, Machine, Step};
pub use message::{HealthOutcome, RenewOutcome, SessionMsg, TokenStatus};
pub use preflight::{LoginCost, check_health};
pub use schedule::{HEALTH_TIMEOUT, LOGIN_TIMEOUT};
pub use state::{Arguments, State};
pub use view::{LoginFault, Session, SessionView, Sessions};

/// The actor. All that it holds is in its state.
#[derive(Debug)]
pub struct VaultSession;

impl Actor for VaultSession {
    type Msg = SessionMsg;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<SessionMsg>,
        args: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        Ok(State::new(args, &myself))
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<SessionMsg>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.revoke_all().await;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<SessionMsg>,
        message: SessionMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.reap()?;
        match message {
            SessionMsg::Happened(event) => state.handle(&myself, event),
            SessionMsg::HealthChecked(outcome) => state.health_checked(&myself, outcome),
            SessionMsg::LoginEnded => state.login_ended(&myself).await?,
            SessionMsg::Renewed(outcome) => state.renewed(&myself, outcome),
            SessionMsg::CheckToken { generation, reply } => {
                state.check_token(&myself, generation, reply);
            }
            SessionMsg::TokenChecked { generation, status } => {
                state.token_checked(&myself, generation, status);
            }
            SessionMsg::Ping(reply) => drop(reply.send(())),
            #[cfg(feature = "faults")]
            SessionMsg::Fail(fault) => return fault.strike().await,
        }
        Ok(())
    }
}
