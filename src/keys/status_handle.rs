//! Status, answered from what is known, past the mailbox of the actor, in which it would wait behind
//! Encrypts and Decrypts.

use std::sync::Arc;

use ractor::ActorRef;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::arguments::Arguments;
use super::error::KeyError;
use super::message::KeyMsg;
use super::status::{HealthLimits, Policy, StatusReport, announce, status_now};
use super::view::KeyView;
use crate::session::Sessions;
use crate::telemetry::events;

/// A KeyManager, and where it is asked for Status.
#[derive(Debug, Clone)]
pub struct KeyManagerHandle {
    /// For Encrypts and Decrypts.
    pub actor: ActorRef<KeyMsg>,
    /// For Status.
    pub status_handle: StatusHandle,
}

/// Where Status is asked for.
#[derive(Debug, Clone)]
pub struct StatusHandle {
    view: Arc<watch::Sender<KeyView>>,
    sessions: Sessions,
    limits: HealthLimits,
}

impl StatusHandle {
    /// Of the KeyManager with these arguments.
    #[must_use]
    pub fn new(args: &Arguments) -> Self {
        Self {
            view: args.view.clone(),
            sessions: args.sessions.clone(),
            limits: args.settings.limits,
        }
    }

    /// What is the state, and which key_id will write? Waits only where no key version has ever
    /// worked, and for the first answer of Vault after a boot. Never calls Vault.
    ///
    /// # Errors
    /// Where kube-apiserver has to stop writing; at the deadline with the reason.
    pub async fn status(&self, deadline: Instant) -> Result<StatusReport, KeyError> {
        let mut keys = self.view.subscribe();
        let mut sessions = self.sessions.subscribe();
        let mut policy = self.now();
        while matches!(policy, Policy::Wait(_)) {
            let changed =
                async { tokio::select!(it = keys.changed() => it, it = sessions.changed() => it) };
            // At the deadline the policy says why there is still nothing to say.
            let is_over = !matches!(timeout_at(deadline, changed).await, Ok(Ok(())));
            policy = self.now();
            if is_over {
                break;
            }
        }
        match policy {
            Policy::Answer(report) => Ok(report),
            Policy::Fail(error) | Policy::Wait(error) => Err(error),
        }
    }

    /// Announces what it answers, in the same step: what an Encrypt uses from then on.
    fn now(&self) -> Policy {
        let mut announcement = None;
        self.view.send_if_modified(|view| {
            let made = announce(view, &self.sessions.view(), self.limits);
            let is_new = made.is_new;
            announcement = Some(made);
            is_new
        });
        let Some(announcement) = announcement else {
            // `watch` has called the closure.
            return status_now(&self.view.borrow(), &self.sessions.view(), self.limits);
        };
        if let (true, Policy::Answer(report)) = (announcement.is_new, &announcement.policy) {
            let key_id = report.key.key_id.to_string();
            if let Some(before) = announcement.reused_after {
                events::KeyIdReused {
                    key_id: key_id.clone(),
                    before: before.to_string(),
                }
                .emit();
            }
            events::VersionAnnounced { key_id }.emit();
        }
        announcement.policy
    }
}
