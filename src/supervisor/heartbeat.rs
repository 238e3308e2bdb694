//! Finds actors that hang: each gets heartbeats and has to answer in time.

use std::collections::HashMap;

use ractor::RpcReplyPort;
use ractor::concurrency::{OneshotReceiver, oneshot};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;

use super::child::Child;
use super::restart_policy::RestartPolicy;

/// The heartbeats without an answer so far.
#[derive(Debug, Default)]
pub(super) struct Heartbeats(HashMap<Child, Heartbeat>);

#[derive(Debug)]
struct Heartbeat {
    since: Instant,
    answer: OneshotReceiver<()>,
}

impl Heartbeats {
    /// Returns whether this actor has not answered a heartbeat in time.
    pub(super) fn is_unresponsive(&mut self, child: Child, policy: &RestartPolicy) -> bool {
        let Some(heartbeat) = self.0.get_mut(&child) else {
            return false;
        };
        match heartbeat.answer.try_recv() {
            Err(TryRecvError::Empty) => heartbeat.since.elapsed() >= policy.heartbeat_timeout,
            // It answered, or has ended, which its supervision event reports.
            Ok(()) | Err(TryRecvError::Closed) => {
                self.0.remove(&child);
                false
            }
        }
    }

    /// Sends a heartbeat, unless one has no answer yet.
    pub(super) fn send(&mut self, child: Child, send: impl FnOnce(RpcReplyPort<()>)) {
        if self.0.contains_key(&child) {
            return;
        }
        let (reply, answer) = oneshot();
        let since = Instant::now();
        self.0.insert(child, Heartbeat { since, answer });
        send(reply.into());
    }

    /// Forgets a heartbeat: the actor is restarted.
    pub(super) fn forget(&mut self, child: Child) {
        self.0.remove(&child);
    }
}
