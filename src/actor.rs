//! What every actor of the tree uses: finding the current one, reaping its tasks, and the fault
//! hook of test builds. Knows no actor in particular.

use ractor::{ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The living actor of a kind. Old references stay dead after a restart, so this is looked at for
/// every message; empty while the actor is being restarted.
pub type Current<M> = watch::Receiver<Option<ActorRef<M>>>;

/// Drops the tasks that have ended, so that the set does not grow.
///
/// # Errors
/// When a task panicked: its actor then fails and is restarted with a clean state.
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
    /// Never comes back from `handle`.
    Hang,
    /// Is killed, which the Supervisor does: it never gets to the actor.
    Kill,
}

#[cfg(feature = "faults")]
impl Fault {
    /// Fails as asked.
    pub(crate) async fn strike(self) -> Result<(), ActorProcessingErr> {
        match self {
            Self::Panic => panic!("a panic on request"),
            Self::Error => Err("an error on request".into()),
            Self::Hang => std::future::pending().await,
            Self::Kill => Ok(()),
        }
    }
}
