//! Finds actors that hang: each is asked now and then, and has to answer in time.

use std::collections::HashMap;

use ractor::RpcReplyPort;
use ractor::concurrency::{OneshotReceiver, oneshot};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;

use super::Child;
use super::restart_policy::RestartPolicy;

/// The questions that are under way.
#[derive(Debug, Default)]
pub(super) struct Heartbeats(HashMap<Child, Asked>);

#[derive(Debug)]
struct Asked {
    since: Instant,
    answer: OneshotReceiver<()>,
}

impl Heartbeats {
    /// Whether a question to this actor waits for longer than it may.
    pub(super) fn hangs(&mut self, child: Child, policy: &RestartPolicy) -> bool {
        let Some(asked) = self.0.get_mut(&child) else {
            return false;
        };
        match asked.answer.try_recv() {
            Err(TryRecvError::Empty) => asked.since.elapsed() >= policy.heartbeat_timeout,
            // It answered, or is gone, which is noticed elsewhere.
            Ok(()) | Err(TryRecvError::Closed) => {
                self.0.remove(&child);
                false
            }
        }
    }

    /// Asks it, unless it is still being asked.
    pub(super) fn ask(&mut self, child: Child, send: impl FnOnce(RpcReplyPort<()>)) {
        if self.0.contains_key(&child) {
            return;
        }
        let (reply, answer) = oneshot();
        let since = Instant::now();
        self.0.insert(child, Asked { since, answer });
        send(reply.into());
    }

    /// Forgets a question: the actor is another one.
    pub(super) fn forget(&mut self, child: Child) {
        self.0.remove(&child);
    }

    /// Whether all that were asked have answered, or may still do so.
    pub(super) fn all_responding(&self, policy: &RestartPolicy) -> bool {
        let late = |asked: &Asked| asked.since.elapsed() >= policy.heartbeat_timeout;
        !self.0.values().any(late)
    }
}
