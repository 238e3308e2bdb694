//! Watches for a new wrapping token while there is a session. It expires within minutes, the session
//! perhaps after weeks, so it is used when it is delivered and not at the next login.

use std::time::Duration;

use ractor::ActorRef;

use super::State;
use crate::session::credentials;
use crate::session::login::{DEFER_FOR, PendingToken};
use crate::session::machine::Event;
use crate::session::message::SessionMsg;

/// How often the machine is reminded while a new token waits.
const REMINDER_INTERVAL: Duration = Duration::from_secs(1);

impl State {
    /// Watches the file of the wrapping token, for as long as the actor lives.
    pub(super) fn watch_wrapping_token(&mut self, myself: &ActorRef<SessionMsg>) {
        let Some(wrapped) = self.args.settings.method.wrapped().cloned() else {
            return;
        };
        let myself = myself.clone();
        let file = [wrapped.file().clone()];
        self.tasks.spawn(async move {
            loop {
                let now = credentials::fingerprint(&file).await;
                let wait = match wrapped.pending_token().await {
                    PendingToken::None => Duration::MAX,
                    PendingToken::Deferred => DEFER_FOR,
                    PendingToken::Ready => {
                        let _ = myself.cast(SessionMsg::Happened(Event::NewWrappingToken));
                        REMINDER_INTERVAL
                    }
                };
                let _ = tokio::time::timeout(wait, credentials::changed(&file, now)).await;
            }
        });
    }
}
