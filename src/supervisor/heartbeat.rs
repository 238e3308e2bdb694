//! Finds actors that hang: each gets heartbeats and has to answer in time.

use std::collections::HashMap;
use std::time::Duration;

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

/// How an actor is, as far as its heartbeats show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pulse {
    /// It has answered, or may still do so in time.
    Alive,
    /// It has not answered for this long, which is too long.
    Unresponsive(Duration),
    /// It dropped a heartbeat without an answer: it has ended.
    Ended,
}

impl Heartbeats {
    /// How this actor is now.
    pub(super) fn check(&mut self, child: Child, policy: &RestartPolicy) -> Pulse {
        let Some(heartbeat) = self.0.get_mut(&child) else {
            return Pulse::Alive;
        };
        let pulse = match heartbeat.answer.try_recv() {
            Err(TryRecvError::Empty) => {
                let silence = heartbeat.since.elapsed();
                if silence < policy.heartbeat_timeout {
                    return Pulse::Alive;
                }
                return Pulse::Unresponsive(silence);
            }
            Ok(()) => Pulse::Alive,
            Err(TryRecvError::Closed) => Pulse::Ended,
        };
        self.forget(child);
        pulse
    }

    /// Returns whether every actor has answered in time, or was killed and has ended: one that does
    /// neither cannot be helped from here.
    pub(super) fn all_answer(&self, policy: &RestartPolicy) -> bool {
        let limit = policy.heartbeat_timeout + 2 * policy.heartbeat_interval;
        self.0.values().all(|it| it.since.elapsed() < limit)
    }

    /// Sends a heartbeat, unless one has no answer yet.
    pub(super) fn send(&mut self, child: Child, send: impl FnOnce(RpcReplyPort<()>) -> bool) {
        if self.0.contains_key(&child) {
            return;
        }
        let (reply, answer) = oneshot();
        // An actor that restarts gets none.
        if send(reply.into()) {
            let since = Instant::now();
            self.0.insert(child, Heartbeat { since, answer });
        }
    }

    /// Forgets a heartbeat: the actor has ended.
    pub(super) fn forget(&mut self, child: Child) {
        self.0.remove(&child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_actor_that_is_silent_for_too_long_is_unresponsive_until_it_has_ended() {
        let (policy, mut heartbeats) = (RestartPolicy::default(), Heartbeats::default());
        let mut kept = None;
        heartbeats.send(Child::Keys, |reply| {
            kept = Some(reply);
            true
        });
        assert_eq!(heartbeats.check(Child::Keys, &policy), Pulse::Alive);
        tokio::time::advance(policy.heartbeat_timeout).await;
        let silence = policy.heartbeat_timeout;
        assert_eq!(
            heartbeats.check(Child::Keys, &policy),
            Pulse::Unresponsive(silence)
        );
        assert!(heartbeats.all_answer(&policy), "it was only just killed");
        tokio::time::advance(2 * policy.heartbeat_interval).await;
        assert!(!heartbeats.all_answer(&policy), "killing it did not help");
        drop(kept);
        assert_eq!(heartbeats.check(Child::Keys, &policy), Pulse::Ended);
        assert!(heartbeats.all_answer(&policy));
    }

    #[tokio::test(start_paused = true)]
    async fn an_actor_that_restarts_gets_no_heartbeat() {
        let (policy, mut heartbeats) = (RestartPolicy::default(), Heartbeats::default());
        heartbeats.send(Child::Grpc, |_| false);
        tokio::time::advance(10 * policy.heartbeat_timeout).await;
        assert_eq!(heartbeats.check(Child::Grpc, &policy), Pulse::Alive);
        assert!(heartbeats.all_answer(&policy));
    }
}
