//! Credentials that Vault refused and counts the refusals of: one more may lock the role out for
//! every node, so nothing is tried until they change, an operator asks, or a time is over.

use ractor::ActorRef;
use tokio::time::Instant;

use super::State;
use crate::session::SessionMsg;
use crate::session::credentials::{self, Fingerprint};
use crate::session::machine::Event;
use crate::telemetry::events;

impl State {
    /// The credentials have just been refused: waits for others.
    pub(super) fn leave_alone(&mut self, myself: &ActorRef<SessionMsg>, refused: Fingerprint) {
        let until = self.machine.suspended_until();
        let wait = until.map(|until| until.saturating_duration_since(Instant::now()));
        let wait_minutes = wait.map(|wait| wait.as_secs() / 60);
        events::LoginsSuspended { wait_minutes }.emit();
        self.args
            .view
            .send_modify(|view| view.suspended_until = until);
        self.watch(myself, Some(refused));
    }

    /// Tries again once the credentials are others than these, or than they are now.
    pub(super) fn watch(&mut self, myself: &ActorRef<SessionMsg>, refused: Option<Fingerprint>) {
        let (myself, credentials) = (myself.clone(), self.args.settings.method.credentials());
        let watcher = self.tasks.spawn(async move {
            let before = match refused {
                Some(refused) => refused,
                None => credentials::fingerprint(&credentials).await,
            };
            credentials::changed(&credentials, before).await;
            let _ = myself.cast(SessionMsg::Happened(Event::TryAgain));
        });
        self.watcher = Some(watcher);
    }

    pub(super) fn watch_no_more(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.abort();
        }
    }
}
