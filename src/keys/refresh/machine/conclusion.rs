//! How a refresh ends: what is published and logged, and when the next one begins.

use tokio::time::Instant;

use super::Machine;
use super::phase::Report;
use crate::keys::error::{ErrorKind, KeyError};
use crate::keys::refresh::effect::{Effect, Publication};
use crate::keys::refresh::log::LogEntry;
use crate::keys::refresh::schedule::{self, RefreshHints};
use crate::keys::refresh::verdict::{Classification, RefusalStreak};
use crate::keys::view::{Canary, KeyFault};
use crate::vault::KeyVersion;

/// Reasons of transient failures that are logged one by one; more than these are not.
const MAX_LOGGED_REASONS: usize = 8;

impl Machine {
    /// Logs, once, that the latest version does not work.
    pub(super) fn note_rejected(
        &mut self,
        rejected: Option<KeyError>,
        version: KeyVersion,
    ) -> Option<Effect> {
        let is_new = rejected.is_some() && self.latest_rejected != rejected;
        self.latest_rejected = rejected;
        let error = self.latest_rejected.as_ref().filter(|_| is_new)?;
        Some(Effect::Log(LogEntry::LatestUnusable {
            reason: error.reason,
            error: error.to_string(),
            version: version.get(),
        }))
    }

    /// A refresh that ended well; `proof` is the canary of the version that was shown to work.
    pub(super) fn succeeded(
        &mut self,
        report: Report,
        proof: Option<Canary>,
        now: Instant,
        random: f64,
    ) -> Vec<Effect> {
        let streak = self.failures.end(now);
        self.refusals = RefusalStreak::default();
        let mut effects = Vec::new();
        let had_fault = self.fault.is_some();
        if self.proven == Some(report.latest) {
            self.lag_logged = false;
            if self.latest_rejected.is_some() && proof.is_some() {
                self.latest_rejected = None;
            }
        }
        // That an earlier version was reported proves nothing against a verdict.
        let had_verdict = self.fault.as_ref().is_some_and(|fault| fault.verdict);
        if (proof.is_some() || !had_verdict)
            && let Some(fault) = self.fault.take()
        {
            self.logged.clear();
            effects.push(Effect::Log(LogEntry::Recovered {
                ended: fault.error.to_string(),
                streak,
            }));
        }
        self.in_vain = if self.on_demand && !had_fault {
            self.in_vain.saturating_add(1)
        } else {
            0
        };
        let proof = proof.map(|canary| Canary {
            was_refused: false,
            ..canary
        });
        if let Some(canary) = &proof {
            self.proven = Some(canary.stamp);
            self.canary = Some(canary.clone());
        }
        let replaces = std::mem::take(&mut self.replaces);
        effects.push(Effect::Publish(Publication {
            replaces,
            key_id: proof.as_ref().map(|it| self.key_id(it.stamp)),
            proven: proof,
            succeeded: true,
            used_acceptance: self.accepted.clone().filter(|_| self.acceptance_is_used),
            min_decryption_version: Some(report.min_decryption_version),
            canary_was_refused: self.canary_was_refused(),
            fault: self.fault.clone(),
        }));
        let spacing = || schedule::on_demand_delay(Some(now), self.in_vain, now);
        let hints = RefreshHints {
            contradicted: self.contradicted.then(spacing),
            failing: self.fault.is_some() || self.latest_rejected.is_some(),
            belief: self.stale.believed_in(now),
        };
        self.due = Some(now + schedule::after_success(hints, random));
        effects
    }

    pub(super) fn failed(&mut self, error: KeyError, now: Instant) -> Vec<Effect> {
        let (reason, text) = (error.reason, error.to_string());
        let (mut effects, classification) = self.fail(error, now);
        let entry = if classification == Classification::Verdict {
            LogEntry::Unusable {
                reason,
                error: text,
            }
        } else {
            LogEntry::RefreshFailed {
                reason,
                error: text,
            }
        };
        effects.extend(self.log_once(entry));
        effects
    }

    /// A refresh that failed: publishes why, and plans the next one.
    pub(super) fn fail(&mut self, error: KeyError, now: Instant) -> (Vec<Effect>, Classification) {
        let (refusals, classification) = self.refusals.classify(error.may_be_verdict(), now);
        self.refusals = refusals;
        self.failures.failed(now);
        self.in_vain = 0;
        let verdict = classification == Classification::Verdict;
        let mut effects = Vec::new();
        if verdict && error.kind == ErrorKind::Denied {
            effects.push(Effect::ReportDenied);
        }
        let had_verdict = self.fault.as_ref().is_some_and(|fault| fault.verdict);
        // A verdict stays until something succeeds, whatever transient fault comes after.
        if verdict || !had_verdict {
            self.fault = Some(KeyFault { error, verdict });
        }
        effects.push(Effect::Publish(Publication {
            replaces: false,
            proven: None,
            key_id: None,
            succeeded: false,
            used_acceptance: None,
            min_decryption_version: None,
            canary_was_refused: self.canary_was_refused(),
            fault: self.fault.clone(),
        }));
        let is_proven = self.proven.is_some();
        let failures = self.failures.count();
        let wait = schedule::after_failure(classification, failures, is_proven);
        self.due = Some(now + wait);
        (effects, classification)
    }

    /// Logs it, unless it was logged since something succeeded.
    pub(super) fn log_once(&mut self, entry: LogEntry) -> Option<Effect> {
        let is_limited = matches!(entry, LogEntry::RefreshFailed { .. });
        let is_over = is_limited && self.logged.len() >= MAX_LOGGED_REASONS;
        if is_over || self.logged.contains(&entry) {
            return None;
        }
        self.logged.push(entry.clone());
        Some(Effect::Log(entry))
    }
}
