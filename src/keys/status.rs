//! The Status policy: what Status returns, as a function of what is known and the time.

use std::time::Duration;

use super::error::{ErrorKind, KeyError};
use super::key_id::KeyId;
use super::view::{KeyView, ProvenKey};
use crate::reason::Reason;
use crate::session::SessionView;

/// How long Vault may be silent before Status changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthLimits {
    /// Up to here Status is `ok`.
    pub tolerance: Duration,
    /// From here on it is an error, which stops writes; between the two `healthz` has the reason.
    pub fail_after: Duration,
}

/// What Status says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReport {
    /// The version that the next Encrypt on the same connection uses.
    pub key: ProvenKey,
    /// `ok`, or the reason why not. Anything but `ok` turns kube-apiserver's readyz red while
    /// writes go on (`encryptionconfig/config.go`).
    pub healthz: String,
    /// The code of that reason.
    pub reason: Option<Reason>,
}

/// What follows from the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Answer this.
    Answer(StatusReport),
    /// Answer this error: kube-apiserver stops writing.
    Fail(KeyError),
    /// Nothing was ever proven, or not since the boot, for this reason: wait for it, inside the
    /// caller's deadline.
    Wait(KeyError),
}

/// What Status says now.
#[must_use]
pub fn status_now(keys: &KeyView, sessions: &SessionView, limits: HealthLimits) -> Policy {
    let silence = keys.last_success.map(|at| at.elapsed());
    let reason = reason(keys, sessions);
    if keys.unconfirmed_since.is_some() && keys.fault.is_none() && sessions.fault.is_none() {
        // Vault has not been asked yet, and answers in a moment.
        return Policy::Wait(reason);
    }
    decide(keys, silence, &reason, limits)
}

/// A Status, and what it announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announcement {
    /// What Status says.
    pub(super) policy: Policy,
    /// Whether it is the first Status with this key_id.
    pub(super) is_new: bool,
    /// The key_id that was announced last, where this one was announced before that.
    pub(super) reused_after: Option<KeyId>,
}

/// Announces what Status says now, in the same step: what an Encrypt uses from then on.
pub(super) fn announce(
    view: &mut KeyView,
    sessions: &SessionView,
    limits: HealthLimits,
) -> Announcement {
    let policy = status_now(view, sessions, limits);
    let is_answer = matches!(policy, Policy::Answer(_));
    let is_new = is_answer && view.announced != view.proven;
    let mut reused_after = None;
    if is_new {
        view.announced.clone_from(&view.proven);
        view.remember_announced();
        let key_id = view.announced.as_ref().map(|it| it.key_id.clone());
        if let Some(key_id) = key_id {
            reused_after = view.key_ids.returns_after(&key_id).cloned();
            view.key_ids.add(&key_id);
        }
    }
    if is_answer {
        view.status_asked = true;
    }
    Announcement {
        policy,
        is_new,
        reused_after,
    }
}

/// The best reason there is for a key that does not work: no session explains everything.
pub(super) fn reason(keys: &KeyView, sessions: &SessionView) -> KeyError {
    let known = keys.fault.as_ref().map(|fault| fault.error.clone());
    let unavailable = |text| KeyError::new(ErrorKind::Unavailable, text);
    match (&sessions.current, &sessions.fault, known) {
        (None, Some(fault), _) => fault.clone().into(),
        (None, None, _) => unavailable("not logged in to Vault yet").because(Reason::LoginPending),
        (Some(_), _, Some(error)) => error,
        (Some(_), _, None) if keys.proven.is_some() => {
            unavailable("vault has not answered for a while; the transit key is being checked")
        }
        (Some(_), _, None) => unavailable(
            "the transit key has not been proven yet; it will be as soon as vault answers",
        )
        .because(Reason::KeyUnproven),
    }
}

/// Decides what Status says. `silence` is the time since Vault's last success, `reason` what is
/// known of why it is silent.
fn decide(
    view: &KeyView,
    silence: Option<Duration>,
    reason: &KeyError,
    limits: HealthLimits,
) -> Policy {
    if let Some(verdict) = view.verdict() {
        return Policy::Fail(verdict.clone());
    }
    let (Some(proven), Some(silence)) = (&view.proven, silence) else {
        return Policy::Wait(reason.clone());
    };
    if silence >= limits.fail_after {
        // Not the silence itself: a text that changes each second would be logged each time.
        let limit = humantime::format_duration(limits.fail_after);
        let text = format!("no success with vault for more than {limit}: {reason}");
        let kind = match reason.kind {
            ErrorKind::Denied | ErrorKind::Precondition => reason.kind,
            _ => ErrorKind::Unavailable,
        };
        return Policy::Fail(KeyError::new(kind, text).because(reason.reason));
    }
    let healthz = match view.unconfirmed_since {
        Some(since) => format!(
            "the key_id is from a state file of an earlier boot of this host, confirmed at {since} and not since: {reason}"
        ),
        None if silence < limits.tolerance => "ok".to_owned(),
        None => reason.to_string(),
    };
    Policy::Answer(StatusReport {
        key: proven.clone(),
        reason: (healthz != "ok").then_some(reason.reason),
        healthz,
    })
}

#[cfg(test)]
mod tests;
