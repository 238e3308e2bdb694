//! The status line of `systemctl status`: the key version that encrypts, the end of the session or why
//! there is none, and why the last reload was rejected. Sent when it changes.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::keys::KeyView;
use crate::session::SessionView;
use crate::system::notify;
use crate::telemetry::ReloadStatus;

/// A person reads it; more updates would only cost systemd messages.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Updates the line until the task is aborted. Ends at once without systemd.
pub(super) async fn keep(
    mut sessions: watch::Receiver<SessionView>,
    mut keys: watch::Receiver<KeyView>,
    mut reload: watch::Receiver<Option<ReloadStatus>>,
) {
    if !notify::is_wanted() {
        return;
    }
    let mut sent = String::new();
    loop {
        let mut now = line(&sessions.borrow_and_update(), &keys.borrow_and_update());
        let last = reload.borrow_and_update().clone();
        if let Some(reason) = last.and_then(|reload| reload.refused) {
            now = format!("the last reload was refused: {reason}; {now}");
        }
        if now != sent {
            notify::status(&now);
            sent = now;
        }
        sleep(MIN_INTERVAL).await;
        let changed = tokio::select! {
            changed = sessions.changed() => changed,
            changed = keys.changed() => changed,
            changed = reload.changed() => changed,
        };
        // The daemon is stopping.
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
    let state = match sessions.current.as_deref() {
        None => "not logged in".to_owned(),
        Some(session) if session.expires.is_none() => "session without end".to_owned(),
        Some(session) => format!("session until {}", minute_of(session.end())),
    };
    match &sessions.fault {
        Some(fault) => format!("{state}: {fault}"),
        None => state,
    }
}

/// In whole minutes: two computations of the same moment differ slightly.
fn minute_of(moment: Option<Timestamp>) -> String {
    match moment {
        Some(when) => when.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        None => "the far future".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::reason::Reason;
    use crate::session::LoginFault;
    use crate::system::clock::wall_time;

    #[test]
    fn a_plugin_without_vault_shows_the_reason() {
        let sessions = SessionView {
            fault: Some(LoginFault {
                reason: Reason::VaultUnreachable,
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
    fn a_moment_is_shown_in_universal_time() {
        let text = minute_of(wall_time(Instant::now() + Duration::from_secs(60)));
        assert!(text.starts_with("20") && text.ends_with(" UTC"), "{text}");
    }
}
