//! What all actors use: references to the current one, reaping of tasks, and the fault hook of test
//! builds. Does not depend on any actor.

use ractor::{ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The current actor of a kind; `None` while it restarts. References to a failed actor stay dead, so
/// this is read for every message.
pub type Current<M> = watch::Receiver<Option<ActorRef<M>>>;

/// Removes the tasks that have ended, so that the set does not grow.
///
/// # Errors
/// If a task panicked: the actor then fails and is restarted with a new state.
pub(crate) fn reap(tasks: &mut JoinSet<()>) -> Result<(), ActorProcessingErr> {
    while let Some(ended) = tasks.try_join_next() {
        if let Err(error) = ended
            && error.is_panic()
        {
            return Err(error.into());
        }
    }
    Ok(())
}

/// A failure on request. Only builds with the feature `faults` have it; releases do not.
#[cfg(feature = "faults")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Panics inside `handle`.
    Panic,
    /// Returns an error from `handle`.
    Error,
    /// Never returns from `handle`.
    Hang,
    /// Is killed by the Supervisor; never reaches the actor.
    Kill,
}

#[cfg(feature = "faults")]
impl Fault {
    /// Fails as requested.
    pub(crate) async fn strike(self) -> Result<(), ActorProcessingErr> {
        match self {
            Self::Panic => panic!("a panic on request"),
            Self::Error => Err("an error on request".into()),
            Self::Hang => std::future::pending().await,
            Self::Kill => Ok(()),
        }
    }
}
