//! The line of `systemctl status`: which key version writes, until when the session is good, or why
//! there is none, and why the last reload was refused. Sent when it changed.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::admin::report;
use crate::keys::KeyView;
use crate::session::SessionView;
use crate::system::notify;

/// A person reads it: more often helps nobody, and costs systemd a message each.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// Keeps the line true until it is aborted. Ends at once where nobody would read it.
pub(super) async fn keep(
    mut sessions: watch::Receiver<SessionView>,
    mut keys: watch::Receiver<KeyView>,
    mut reload: watch::Receiver<Option<report::Reload>>,
) {
    if !notify::is_wanted() {
        return;
    }
    let mut told = String::new();
    loop {
        let mut now = line(&sessions.borrow_and_update(), &keys.borrow_and_update());
        let last = reload.borrow_and_update().clone();
        if let Some(reason) = last.and_then(|reload| reload.refused) {
            now = format!("the last reload was refused: {reason}; {now}");
        }
        if now != told {
            notify::status(&now);
            told = now;
        }
        sleep(AT_MOST_EVERY).await;
        let changed = tokio::select! {
            changed = sessions.changed() => changed,
            changed = keys.changed() => changed,
            changed = reload.changed() => changed,
        };
        // The daemon is going down.
        if changed.is_err() {
            return;
        }
    }
}

fn line(sessions: &SessionView, keys: &KeyView) -> String {
    format!("{}; {}", of_key(keys), of_session(sessions))
}

fn of_key(keys: &KeyView) -> String {
    let known = match (&keys.announced, &keys.proven) {
        (Some(announced), _) => format!("key {} announced", announced.key_id),
        (None, Some(proven)) => format!("key {} proven, not asked for yet", proven.key_id),
        (None, None) => "no key proven yet".to_owned(),
    };
    match &keys.fault {
        Some(fault) => format!("{known}, but: {}", fault.error),
        None => known,
    }
}

fn of_session(sessions: &SessionView) -> String {
    let state = match sessions.current.as_ref().map(|session| session.expires) {
        None => "not logged in".to_owned(),
        Some(None) => "session without end".to_owned(),
        Some(Some(end)) => format!("session until {}", minute_of(end)),
    };
    match &sessions.fault {
        Some(fault) => format!("{state}: {fault}"),
        None => state,
    }
}

/// In whole minutes: two ways to the same moment differ by a little.
fn minute_of(moment: Instant) -> String {
    match report::timestamp(moment) {
        Some(when) => when.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        None => "the far future".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::LoginFault;

    #[test]
    fn a_plugin_without_vault_says_why() {
        let sessions = SessionView {
            fault: Some(LoginFault {
                cause: "vault cannot be reached".to_owned(),
                remedy: None,
                rejected: false,
            }),
            ..SessionView::default()
        };
        assert_eq!(
            line(&sessions, &KeyView::default()),
            "no key proven yet; not logged in: vault cannot be reached"
        );
    }

    #[test]
    fn a_moment_is_told_in_universal_time() {
        let text = minute_of(Instant::now() + Duration::from_secs(60));
        assert!(text.starts_with("20") && text.ends_with(" UTC"), "{text}");
    }
}
