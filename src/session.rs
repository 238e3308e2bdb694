//! VaultSession: logs in, renews, logs in again; publishes the session in a `watch`.
//!
//! No answer and no silence of Vault is a failure of this actor: it waits and tries again.

mod credentials;
mod kept;
mod login;
mod machine;
mod plan;
mod probe;
mod state;
mod view;

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::watch;

#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::vault::Client;
pub use credentials::Credential;
pub use login::spiffe;
pub use login::{AppRole, Cert, Jwt, JwtSource, Method, SecretId, Settings, Userpass, Wrapped};
pub use machine::{Event, Failure, Machine, Step};
pub use probe::{Diagnosis, LoginCost, reach};
pub use state::{LoginOutcome, ReachOutcome, RenewOutcome, State};
pub use view::{LoginFault, Session, SessionView, Sessions, TokenStatus};

/// The actor. It holds nothing: all is in its state.
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
    /// What the machine is told as it is.
    Happened(Event),
    /// A look at Vault's health ended.
    Reached(ReachOutcome),
    /// A login ended.
    LoggedIn(LoginOutcome),
    /// A renewal ended.
    Renewed(RenewOutcome),
    /// A caller was refused with this generation's token: does it live?
    CheckToken {
        /// The generation that was refused.
        generation: u64,
        /// Where the answer goes.
        reply: RpcReplyPort<TokenStatus>,
    },
    /// The look at a doubted token ended.
    Looked {
        /// The generation that was looked at.
        generation: u64,
        /// What became of it.
        doubt: TokenStatus,
    },
    /// Is it there? Asked by the Supervisor, which kills an actor that does not answer.
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
        state.end().await;
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
            SessionMsg::Happened(event) => state.note(&myself, event),
            SessionMsg::Reached(outcome) => state.reached(&myself, outcome),
            SessionMsg::LoggedIn(outcome) => state.logged_in(&myself, outcome),
            SessionMsg::Renewed(outcome) => state.renewed(&myself, outcome),
            SessionMsg::CheckToken { generation, reply } => state.doubt(&myself, generation, reply),
            SessionMsg::Looked { generation, doubt } => state.looked(&myself, generation, doubt),
            SessionMsg::Ping(reply) => drop(reply.send(())),
            #[cfg(feature = "faults")]
            SessionMsg::Fail(fault) => return fault.strike().await,
        }
        Ok(())
    }
}
