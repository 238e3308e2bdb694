//! A new wrapping token while the session lives: it lives for minutes, the session perhaps for
//! weeks. So it is used when it comes, and not at the next login.

use std::time::Duration;

use ractor::ActorRef;

use super::State;
use crate::session::SessionMsg;
use crate::session::credentials;
use crate::session::login::{ASIDE, News};
use crate::session::machine::Event;

/// How often it is asked again while news waits.
const ASK_EVERY: Duration = Duration::from_secs(1);

impl State {
    /// Watches the file of the wrapping token, for as long as the actor lives.
    pub(super) fn watch_for_news(&mut self, myself: &ActorRef<SessionMsg>) {
        let Some(wrapped) = self.args.settings.method.wrapped().cloned() else {
            return;
        };
        let (myself, file) = (myself.clone(), [wrapped.file().clone()]);
        self.tasks.spawn(async move {
            loop {
                let now = credentials::fingerprint(&file).await;
                let wait = match wrapped.news().await {
                    News::None => Duration::MAX,
                    News::Later => ASIDE,
                    News::Now => {
                        let _ = myself.cast(SessionMsg::Happened(Event::News));
                        ASK_EVERY
                    }
                };
                let _ = tokio::time::timeout(wait, credentials::changed(&file, now)).await;
            }
        });
    }
}
