//! Suspends logins after Vault rejected credentials and counts the rejections: a few more could lock
//! the role out for every node. Logins resume when the credentials change, an operator asks, or a
//! pause has passed.

use ractor::ActorRef;
use tokio::time::Instant;

use super::State;
use crate::session::credentials::{self, CredentialState};
use crate::session::machine::Event;
use crate::session::message::SessionMsg;
use crate::telemetry::events;

impl State {
    /// Suspends logins with credentials that were just rejected.
    pub(super) fn suspend_logins(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        rejected: CredentialState,
    ) {
        let until = self.machine.suspended_until();
        let wait = until.map(|until| until.saturating_duration_since(Instant::now()));
        let wait_minutes = wait.map(|wait| wait.as_secs() / 60);
        events::LoginsSuspended { wait_minutes }.emit();
        self.watch(myself, Some(rejected));
    }

    /// Retries once the content of the credential files differs from `rejected`, or from what it is
    /// now.
    pub(super) fn watch(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        rejected: Option<CredentialState>,
    ) {
        let myself = myself.clone();
        let credentials = self.args.settings.method.credentials();
        let watcher = self.tasks.spawn(async move {
            let before = match rejected {
                Some(rejected) => rejected,
                None => credentials::state(&credentials).await,
            };
            credentials::content_changed(&credentials, before).await;
            let _ = myself.cast(SessionMsg::Happened(Event::RetryNow));
        });
        self.watcher = Some(watcher);
    }

    pub(super) fn stop_watching(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.abort();
        }
    }
}
