//! The login in progress. It is a task, so that the actor answers meanwhile; what it was granted is
//! not lost if the actor stops before it ends.

use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::actor::spawn_watched;
use crate::session::message::{LoginOutcome, SessionMsg};

/// At most one login.
#[derive(Debug, Default)]
pub(super) struct LoginTask(JoinSet<LoginOutcome>);

impl LoginTask {
    /// Begins one. The actor receives [`SessionMsg::LoginEnded`].
    pub(super) fn begin(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        login: impl Future<Output = LoginOutcome> + Send + 'static,
    ) {
        let ended = || SessionMsg::LoginEnded;
        spawn_watched(&mut self.0, myself.clone(), ended, login);
    }

    /// The outcome of a login that has ended.
    ///
    /// # Errors
    /// If it panicked: the actor then fails.
    pub(super) async fn outcome(&mut self) -> Result<Option<LoginOutcome>, ActorProcessingErr> {
        Ok(self.0.join_next().await.transpose()?)
    }

    /// The outcome of a login in progress, if there is one and it ends within this time.
    pub(super) async fn outcome_within(&mut self, limit: Duration) -> Option<LoginOutcome> {
        timeout(limit, self.0.join_next()).await.ok()??.ok()
    }
}
