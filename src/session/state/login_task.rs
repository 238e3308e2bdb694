//! The login in progress. It is a task, so that the actor answers meanwhile. It is never aborted: once
//! Vault has the request, it may have spent a wrapping token or made a token.

use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::actor::spawn_watched;
use crate::session::message::{LoginOutcome, SessionMsg};

/// The outcome of a login, or that it panicked.
type Received = Result<LoginOutcome, oneshot::error::RecvError>;

/// At most one login.
#[derive(Debug, Default)]
pub(super) struct LoginTask(JoinSet<Received>);

impl LoginTask {
    /// Begins one. The actor receives [`SessionMsg::LoginEnded`]; if it has ended before the login,
    /// `unclaimed` gets the outcome.
    pub(super) fn begin<F: Future<Output = ()> + Send>(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        login: impl Future<Output = LoginOutcome> + Send + 'static,
        unclaimed: impl FnOnce(LoginOutcome) -> F + Send + 'static,
    ) {
        let (reply, outcome) = oneshot::channel();
        tokio::spawn(async move {
            if let Err(outcome) = reply.send(login.await) {
                unclaimed(outcome).await;
            }
        });
        let ended = || SessionMsg::LoginEnded;
        spawn_watched(&mut self.0, myself.clone(), ended, outcome);
    }

    /// The outcome of a login that has ended.
    ///
    /// # Errors
    /// If it panicked: the actor then fails.
    pub(super) async fn outcome(&mut self) -> Result<Option<LoginOutcome>, ActorProcessingErr> {
        let outcome = self.0.join_next().await.transpose()?;
        Ok(outcome.transpose()?)
    }

    /// The outcome of a login in progress, if there is one and it ends within this time.
    pub(super) async fn outcome_within(&mut self, limit: Duration) -> Option<LoginOutcome> {
        timeout(limit, self.outcome()).await.ok()?.ok()?
    }
}
