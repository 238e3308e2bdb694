//! Publishes the session, its lease, and why there is none.

use std::sync::Arc;

use tokio::time::Instant;

use super::State;
use crate::session::login::LoginError;
use crate::session::view::{LoginFault, Session};
use crate::telemetry::FailureStreak;
use crate::telemetry::events;
use crate::vault::Token;

impl State {
    /// Once a renewal has made a login unnecessary, its failures are over.
    pub(super) fn withdraw_fault(&mut self) {
        if !self.machine.needs_login() && self.args.view.borrow().fault.is_some() {
            self.failed = FailureStreak::default();
            self.args.view.send_modify(|view| view.fault = None);
        }
    }

    /// Publishes why a login is not possible; logs it if the reason is a new one.
    pub(super) fn publish_fault(&mut self, error: &LoginError) {
        self.failed.failed(Instant::now());
        // A candidate's end with its reload, which reports them.
        if !self.args.is_candidate() {
            let metric = error.class().metric();
            self.args.client.metrics().login_failed(metric);
        }
        let fault = LoginFault {
            reason: error.reason(),
            cause: error.cause().to_owned(),
            remedy: error.remedy().map(str::to_owned),
            rejected: error.class().needs_operator(),
        };
        let is_known = self.args.view.borrow().fault.as_ref() == Some(&fault);
        if !is_known {
            events::LoginFailed {
                reason_code: error.reason().code(),
                error: error.to_string(),
                candidate: self.args.is_candidate().then_some(true),
            }
            .emit();
            self.args.view.send_modify(|view| view.fault = Some(fault));
        }
    }

    /// Publishes the session of a login that the machine has accepted.
    pub(super) fn publish_session(&mut self, token: Token) {
        let Some(active) = self.machine.active_token() else {
            return;
        };
        let generation = self.args.view.borrow().logins + 1;
        self.revoke_replaced();
        let streak = self.failed.end(active.obtained);
        events::LoggedIn {
            generation,
            ttl_seconds: active.lease.ttl.map(|ttl| ttl.as_secs()),
            renewable: active.lease.renewable,
            failed: streak.map(|it| it.failed),
            lasted: streak.map(|it| it.lasted()),
            candidate: self.args.is_candidate().then_some(true),
        }
        .emit();
        let session = Arc::new(Session::new(token, generation, active));
        self.args.view.send_modify(|view| {
            view.current = Some(session);
            view.fault = None;
            view.suspended_until = None;
            view.logins = generation;
        });
    }

    /// Publishes the lease that the machine holds, if it differs from the published one.
    pub(super) fn publish_lease(&self) {
        let active = self.machine.active_token();
        self.args.view.send_if_modified(|view| {
            let Some(session) = &view.current else {
                return false;
            };
            view.current = match active {
                Some(it) if (it.lease, it.expires) == (session.lease, session.expires) => {
                    return false;
                }
                Some(it) => Some(Arc::new(session.with_lease(it))),
                None => None,
            };
            true
        });
    }
}
