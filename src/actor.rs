//! What all actors use: references to the current one, reaping of tasks, a timer, and the fault hook
//! of test builds. Does not depend on any actor.

use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef, Message};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

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

/// Runs a task whose end its actor has to know. However it ends, by a panic too, the actor receives
/// `ended`: what an actor does in tasks is supervised like the actor itself.
pub(crate) fn spawn_watched<M: Message, T: Send + 'static>(
    tasks: &mut JoinSet<T>,
    actor: ActorRef<M>,
    ended: impl FnOnce() -> M + Send + 'static,
    task: impl Future<Output = T> + Send + 'static,
) {
    let guard = WatchedTask {
        actor,
        ended: Some(ended),
    };
    tasks.spawn(async move {
        let _guard = guard;
        task.await
    });
}

/// Reports the end of a task when dropped.
struct WatchedTask<M: Message, F: FnOnce() -> M> {
    actor: ActorRef<M>,
    ended: Option<F>,
}

impl<M: Message, F: FnOnce() -> M> Drop for WatchedTask<M, F> {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            // An actor that stops aborts its tasks, and receives nothing any more.
            let _ = self.actor.cast(ended());
        }
    }
}

/// Sends an actor one message, at a time that can be changed.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<(Instant, AbortHandle)>);

impl Timer {
    /// Notes that its message has arrived: whatever is due then, even at the same time, is armed again.
    pub(crate) fn fired(&mut self) {
        // The message may be one that was sent just before another time was set.
        self.cancel();
    }

    fn cancel(&mut self) {
        if let Some((_, armed)) = self.0.take() {
            armed.abort();
        }
    }

    /// Fires at `due`, and no longer at the time that was set before. `arm` sends the message after
    /// a wait; it is called only if the time has changed, because a timer that is due now and set
    /// again for each of many calls would never fire.
    pub(crate) fn set(
        &mut self,
        due: Option<Instant>,
        now: Instant,
        arm: impl FnOnce(Duration) -> AbortHandle,
    ) {
        if due == self.0.as_ref().map(|(at, _)| *at) {
            return;
        }
        self.cancel();
        self.0 = due.map(|at| (at, arm(at.saturating_duration_since(now))));
    }
}

/// A message of an actor that has ended would keep what the actor held, for as long as its wait.
impl Drop for Timer {
    fn drop(&mut self) {
        self.cancel();
    }
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
    /// Its tasks end, and it goes on.
    EndTasks,
}

#[cfg(feature = "faults")]
impl Fault {
    /// Fails as requested.
    pub(crate) async fn strike(self) -> Result<(), ActorProcessingErr> {
        match self {
            Self::Panic => panic!("a panic on request"),
            Self::Error => Err("an error on request".into()),
            Self::Hang => std::future::pending().await,
            Self::Kill | Self::EndTasks => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::JoinHandle;

    use super::*;

    /// Sets the timer, and returns what it armed.
    fn set(timer: &mut Timer, due: Option<Instant>, now: Instant) -> Option<JoinHandle<()>> {
        let mut armed = None;
        timer.set(due, now, |_| {
            let task = tokio::spawn(pending());
            armed.insert(task).abort_handle()
        });
        armed
    }

    #[tokio::test]
    async fn a_timer_is_armed_once_for_a_time_and_never_twice_at_once() {
        let (now, mut timer) = (Instant::now(), Timer::default());
        assert!(set(&mut timer, None, now).is_none());
        let first = set(&mut timer, Some(now), now).expect("armed");
        for _ in 0..100 {
            assert!(set(&mut timer, Some(now), now).is_none(), "armed again");
        }
        assert!(!first.is_finished());
        let second = set(&mut timer, Some(now + Duration::from_secs(1)), now).expect("armed");
        assert!(first.await.expect_err("aborted").is_cancelled());
        assert!(set(&mut timer, None, now).is_none());
        assert!(second.await.expect_err("aborted").is_cancelled());
    }

    #[tokio::test]
    async fn a_timer_ends_with_its_actor() {
        let mut timer = Timer::default();
        let armed = set(&mut timer, Some(Instant::now()), Instant::now()).expect("armed");
        drop(timer);
        assert!(armed.await.expect_err("aborted").is_cancelled());
    }

    #[tokio::test]
    async fn what_is_due_when_it_fires_is_armed_again() {
        let (now, mut timer) = (Instant::now(), Timer::default());
        let late = set(&mut timer, Some(now), now).expect("armed");
        timer.fired();
        assert!(set(&mut timer, Some(now), now).is_some());
        assert!(
            late.await.expect_err("aborted").is_cancelled(),
            "two timers"
        );
    }

    #[tokio::test]
    async fn a_time_that_has_passed_is_not_waited_for() {
        let now = Instant::now();
        let earlier = now.checked_sub(Duration::from_secs(1));
        let mut waited = None;
        Timer::default().set(earlier, now, |wait| {
            waited = Some(wait);
            tokio::spawn(async {}).abort_handle()
        });
        assert_eq!(waited, Some(Duration::ZERO));
    }
}
