//! Tokens that a caller was refused with: does the token live, or was the path refused?

use ractor::{ActorRef, RpcReplyPort};
use tokio::time::Instant;

use super::{STEP_LIMIT, State};
use crate::events;
use crate::session::SessionMsg;
use crate::session::machine::Event;
use crate::session::view::Doubt;
use crate::vault::{CallError, Lease, Refusal};

/// Who waits for an answer.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// For the look that is under way.
    now: Vec<RpcReplyPort<Doubt>>,
    /// For the next one: they were refused after this one began, so it may have come too early.
    next: Vec<RpcReplyPort<Doubt>>,
}

impl State {
    /// Answers at once where the token was replaced, else looks; one look serves all.
    pub(in crate::session) fn doubt(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        generation: u64,
        reply: RpcReplyPort<Doubt>,
    ) {
        if self.generation() != Some(generation) {
            let _ = reply.send(Doubt::Replaced);
        } else if self.doubts.now.is_empty() {
            self.doubts.now.push(reply);
            self.start_look(myself);
        } else {
            self.doubts.next.push(reply);
        }
    }

    /// The look at this generation's token has ended.
    pub(in crate::session) fn looked(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        generation: u64,
        doubt: Doubt,
    ) {
        let is_current = self.generation() == Some(generation);
        // A look at an older token says nothing of the one that callers doubt by now.
        let doubt = if is_current { doubt } else { Doubt::Replaced };
        if doubt == Doubt::Replaced && is_current {
            events::TokenUnknown {}.tell();
            // Before the answers: nobody shall find the dead one again.
            self.note(myself, Event::Died);
        }
        answer(std::mem::take(&mut self.doubts.now), doubt);
        let next = std::mem::take(&mut self.doubts.next);
        if doubt == Doubt::Replaced {
            answer(next, doubt);
        } else if !next.is_empty() {
            self.doubts.now = next;
            self.start_look(myself);
        }
    }

    fn generation(&self) -> Option<u64> {
        self.current().map(|session| session.generation)
    }

    fn start_look(&mut self, myself: &ActorRef<SessionMsg>) {
        let Some(session) = self.current() else {
            return;
        };
        let (client, settings) = (self.args.client.clone(), self.args.settings.clone());
        let myself = myself.clone();
        self.tasks.spawn(async move {
            let deadline = Instant::now() + STEP_LIMIT;
            let looked = client
                .lookup_self(&settings.namespace, &session.token, deadline)
                .await;
            let _ = myself.cast(SessionMsg::Looked {
                generation: session.generation,
                doubt: judge(looked),
            });
        });
    }
}

fn answer(waiting: Vec<RpcReplyPort<Doubt>>, doubt: Doubt) {
    for reply in waiting {
        // Its caller may have given up.
        let _ = reply.send(doubt);
    }
}

/// What a look at a doubted token says.
fn judge(looked: Result<Lease, CallError>) -> Doubt {
    match looked {
        Ok(_) => Doubt::Alive,
        Err(error) => match error.refusal() {
            // Refused by a policy, so known to Vault: a role without the default policy.
            Some(Refusal::PolicyDenied) => Doubt::Alive,
            Some(Refusal::TokenRefused) => Doubt::Replaced,
            _ => Doubt::Unknown,
        },
    }
}
