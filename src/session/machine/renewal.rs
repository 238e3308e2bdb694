//! Renewals, and the login that takes their place if none succeeds.

use tokio::time::Instant;

use super::{Failure, LoginPhase, Machine, RenewalPhase};
use crate::session::schedule::{self, NextAction};
use crate::vault::Lease;

impl Machine {
    pub(super) fn renewed(&mut self, lease: Option<Lease>, now: Instant, random: f64) {
        let RenewalPhase::InProgress(since) = self.renewal else {
            return;
        };
        self.renewal = RenewalPhase::Idle;
        let (Some(active), Some(lease)) = (self.active, lease) else {
            return self.log_in_instead(now);
        };
        self.renewal_failures = 0;
        let active = active.renewed(lease, since);
        self.active = Some(active);
        match schedule::after_renewal(active.granted, lease, random) {
            NextAction::Login(wait) => {
                // The lease shrinks: it ends with max_ttl, or was shortened by an operator. If no
                // login succeeds, whatever is left of it is used.
                self.log_in_by(since + wait);
                self.renewal = active
                    .point(schedule::LAST_RESORT_RENEWAL)
                    .filter(|_| lease.renewable)
                    .map_or(RenewalPhase::Idle, RenewalPhase::Scheduled);
            }
            next => {
                if let NextAction::Renew(wait) = next {
                    self.renewal = RenewalPhase::Scheduled(since + wait);
                }
                self.withdraw_fallback();
            }
        }
    }

    pub(super) fn renewal_failed(&mut self, failure: Failure, now: Instant, random: f64) {
        self.renewal = RenewalPhase::Idle;
        let Some(active) = self.active else {
            return;
        };
        self.renewal_failures = self.renewal_failures.saturating_add(1);
        self.is_obsolete = false;
        let retry_after = match failure {
            Failure::Transient(retry_after) => retry_after,
            _ => None,
        };
        let wait = schedule::retry_delay(self.renewal_failures, retry_after, random);
        let wait = schedule::at_most_half(wait, active.remaining(now));
        if let Some(last) = active.point(schedule::LAST_RENEWAL)
            && last > now
        {
            self.renewal = RenewalPhase::Scheduled(last.min(now + wait));
        }
        match failure {
            // A token that cannot be renewed can still be replaced.
            Failure::Rejected | Failure::RejectedAndCounted => self.log_in_instead(now),
            Failure::Unreachable | Failure::Transient(_) => {
                let at = active.point(schedule::FALLBACK_LOGIN);
                if self.login == LoginPhase::Idle
                    && let Some(at) = at
                {
                    self.is_fallback = true;
                    self.log_in_at(at.max(now));
                }
            }
        }
    }

    /// Cancels a login that was planned only because no renewal succeeded.
    fn withdraw_fallback(&mut self) {
        match self.login {
            _ if !self.is_fallback => {}
            LoginPhase::InProgress { .. } => self.is_obsolete = true,
            LoginPhase::Idle | LoginPhase::Scheduled { .. } => self.end_fallback(),
        }
    }

    pub(super) fn end_fallback(&mut self) {
        self.is_fallback = false;
        self.is_obsolete = false;
        self.login = LoginPhase::Idle;
        self.failures = 0;
        self.vault_unavailable = false;
    }

    /// Begins a login for a token that cannot be renewed, unless one is in progress.
    fn log_in_instead(&mut self, now: Instant) {
        if self.login == LoginPhase::Idle {
            self.is_fallback = true;
        }
        // A login that failed is not repeated sooner for that.
        if self.failures == 0 && !self.vault_unavailable {
            self.log_in_now(now);
        }
    }
}
