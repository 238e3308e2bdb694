//! VaultSession: logs in, renews, logs in anew; publishes the session in a `watch`.
//!
//! No answer and no silence of Vault is a failure of this actor: it waits and tries again.

mod credentials;
mod login;
mod plan;
mod state;
mod view;

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::watch;

#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::vault::Client;
pub use credentials::Credential;
pub use login::{AppRole, Cert, Jwt, Method, Settings, Userpass};
pub use state::{LoginOutcome, RenewOutcome, State};
pub use view::{Doubt, LoginFault, Session, SessionView, Sessions};

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
    /// It is time for what was planned.
    Step,
    /// A credential changed, or an operator asked: refused credentials may be tried again.
    TryAgain,
    /// A login ended.
    LoggedIn(LoginOutcome),
    /// A renewal ended.
    Renewed(RenewOutcome),
    /// A caller was refused with this generation's token: does it live?
    Doubt {
        /// The generation that was refused.
        generation: u64,
        /// Where the answer goes.
        reply: RpcReplyPort<Doubt>,
    },
    /// The look at a doubted token ended.
    Looked {
        /// The generation that was looked at.
        generation: u64,
        /// What became of it.
        doubt: Doubt,
    },
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
            SessionMsg::Step => state.step(&myself),
            SessionMsg::TryAgain => state.try_again(&myself),
            SessionMsg::LoggedIn(outcome) => state.logged_in(&myself, outcome),
            SessionMsg::Renewed(outcome) => state.renewed(&myself, outcome),
            SessionMsg::Doubt { generation, reply } => state.doubt(&myself, generation, reply),
            SessionMsg::Looked { generation, doubt } => state.looked(&myself, generation, doubt),
            #[cfg(feature = "faults")]
            SessionMsg::Fail(fault) => return fault.strike(),
        }
        Ok(())
    }
}
