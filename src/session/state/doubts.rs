//! Tokens that a caller was refused with: does the token live, or was the path refused?

use ractor::{ActorRef, RpcReplyPort};
use tokio::time::Instant;

use super::{STEP_LIMIT, State};
use crate::session::SessionMsg;
use crate::session::machine::Event;
use crate::session::view::TokenStatus;
use crate::telemetry::events;
use crate::vault::{ApiErrorKind, CallError, Lease};

/// Who waits for an answer.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// For the look that is under way.
    now: Vec<RpcReplyPort<TokenStatus>>,
    /// For the next one: they were refused after this one began, so it may have come too early.
    next: Vec<RpcReplyPort<TokenStatus>>,
}

impl State {
    /// Answers at once where the token was replaced, else looks; one look serves all.
    pub(in crate::session) fn doubt(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        generation: u64,
        reply: RpcReplyPort<TokenStatus>,
    ) {
        if self.generation() != Some(generation) {
            let _ = reply.send(TokenStatus::Invalid);
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
        doubt: TokenStatus,
    ) {
        let is_current = self.generation() == Some(generation);
        // A look at an older token says nothing of the one that callers doubt by now.
        let doubt = if is_current {
            doubt
        } else {
            TokenStatus::Invalid
        };
        if doubt == TokenStatus::Invalid && is_current {
            events::TokenRejected {}.emit();
            // Before the answers: nobody shall find the dead one again.
            self.note(myself, Event::Died);
        }
        answer(std::mem::take(&mut self.doubts.now), doubt);
        let next = std::mem::take(&mut self.doubts.next);
        if doubt == TokenStatus::Invalid {
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

fn answer(waiting: Vec<RpcReplyPort<TokenStatus>>, doubt: TokenStatus) {
    for reply in waiting {
        // Its caller may have given up.
        let _ = reply.send(doubt);
    }
}

/// What a look at a doubted token says.
fn judge(looked: Result<Lease, CallError>) -> TokenStatus {
    match looked {
        Ok(_) => TokenStatus::Valid,
        Err(error) => match error.api_error() {
            // Refused by a policy, so known to Vault: a role without the default policy.
            Some(ApiErrorKind::PolicyDenied) => TokenStatus::Valid,
            Some(ApiErrorKind::TokenRefused) => TokenStatus::Invalid,
            _ => TokenStatus::Unknown,
        },
    }
}
