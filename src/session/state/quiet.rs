//! Credentials that Vault refused and counts the refusals of: one more may lock the role out for
//! every node, so nothing is tried until they change, an operator asks, or a time is over.

use std::time::Duration;

use ractor::ActorRef;
use tokio::time::Instant;
use tracing::warn;

use super::State;
use crate::session::SessionMsg;
use crate::session::credentials::{self, Fingerprint};
use crate::session::plan::{self, Next};

impl State {
    /// How long nothing is to be tried.
    pub(super) fn quiet(&self) -> Duration {
        let until = self.args.view.borrow().quiet_until;
        until.map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(Instant::now())
        })
    }

    /// The credentials have just been refused. Returns how long they are left alone.
    pub(super) fn leave_alone(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        refused: Fingerprint,
    ) -> Duration {
        let wait = plan::refused_in(fastrand::f64());
        warn!(
            wait_minutes = wait.as_secs() / 60,
            "refused credentials are not tried again until their file changes, SIGHUP comes or the time is over: vault would lock the role out"
        );
        let until = Some(Instant::now() + wait);
        self.args.view.send_modify(|view| view.quiet_until = until);
        self.watch(myself, Some(refused));
        wait
    }

    /// An actor that was started anew goes on leaving them alone.
    pub(super) fn stay_quiet(&mut self, myself: &ActorRef<SessionMsg>) {
        let quiet = self.quiet();
        if quiet.is_zero() {
            return;
        }
        self.watch(myself, None);
        self.next = Next::Login(quiet);
    }

    /// Logs in now, where a login is what is waited for.
    pub(in crate::session) fn try_again(&mut self, myself: &ActorRef<SessionMsg>) {
        self.args.view.send_modify(|view| view.quiet_until = None);
        if let Next::Login(_) = self.next {
            self.next = Next::Login(Duration::ZERO);
            self.step(myself);
        }
    }

    /// Logs in once the credentials are others than these, or than they are now.
    fn watch(&mut self, myself: &ActorRef<SessionMsg>, refused: Option<Fingerprint>) {
        let (myself, credentials) = (myself.clone(), self.args.settings.method.credentials());
        let watcher = self.tasks.spawn(async move {
            let before = match refused {
                Some(refused) => refused,
                None => credentials::fingerprint(&credentials).await,
            };
            credentials::changed(&credentials, before).await;
            let _ = myself.cast(SessionMsg::TryAgain);
        });
        self.watcher = Some(watcher);
    }

    pub(super) fn watch_no_more(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.abort();
        }
    }
}
