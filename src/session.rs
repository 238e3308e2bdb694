//! VaultSession: logs in, renews, logs in again; publishes the session in a `watch`.
//!
//! Neither an error of Vault nor its silence is a failure of this actor: it waits and retries.

mod active_token;
mod credentials;
mod login;
mod machine;
mod preflight;
mod schedule;
mod secret_id_store;
mod state;
mod view;

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::watch;

#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::vault::Client;
pub use active_token::ActiveToken;
pub use credentials::Credential;
pub use login::spiffe;
pub use login::{AppRole, Cert, Jwt, JwtSource, Method, SecretId, Settings, Userpass, Wrapped};
pub use machine::{Event, Failure, Machine, Step};
pub use preflight::{LoginCost, check_health};
pub use state::{HealthOutcome, LoginOutcome, RenewOutcome, State};
pub use view::{LoginFault, Session, SessionView, Sessions, TokenStatus};

/// How long a login or a renewal may take. Longer than a call's deadline: TokenReview is slow.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a health check may take. A slower Vault cannot serve kube-apiserver within its 3 s.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// The actor. All that it holds is in its state.
#[derive(Debug)]
pub struct VaultSession;

/// What the actor needs; the same at every restart.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// The server.
    pub client: Arc<Client>,
    /// How to log in.
    pub settings: Arc<Settings>,
    /// Where the session is published.
    pub view: Arc<watch::Sender<SessionView>>,
}

/// The actor's messages.
#[derive(Debug)]
pub enum SessionMsg {
    /// An event for the state machine.
    Happened(Event),
    /// A health check ended.
    HealthChecked(HealthOutcome),
    /// A login ended.
    LoggedIn(LoginOutcome),
    /// A renewal ended.
    Renewed(RenewOutcome),
    /// Vault refused a call with the token of this generation: is the token still valid?
    CheckToken {
        /// The generation that was refused.
        generation: u64,
        /// Where the status goes.
        reply: RpcReplyPort<TokenStatus>,
    },
    /// The check of a refused token ended.
    TokenChecked {
        /// The generation that was checked.
        generation: u64,
        /// The result.
        status: TokenStatus,
    },
    /// A heartbeat of the Supervisor, which kills an actor that does not answer.
    Ping(RpcReplyPort<()>),
    /// Fails on request.
    #[cfg(feature = "faults")]
    Fail(Fault),
}

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
        state.revoke_current().await;
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
            SessionMsg::LoggedIn(outcome) => state.logged_in(&myself, outcome),
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
