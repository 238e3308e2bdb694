//! The proof of a version, and the canary from before: what the outcome of either shows of the key.

use tokio::time::Instant;

use super::Machine;
use super::phase::{Phase, Purpose, Report};
use crate::keys::error::KeyError;
use crate::keys::refresh::effect::{Call, Effect};
use crate::keys::refresh::event::Proof;
use crate::keys::refresh::log::LogEntry;
use crate::keys::refresh::schedule::LastProof;
use crate::keys::refresh::verdict::Classification;
use crate::keys::view::Canary;
use crate::vault::{ApiErrorKind, VersionStamp};

impl Machine {
    /// Whether the operator accepts this version of a replaced key. What was accepted once and
    /// rotated since is no longer.
    fn is_accepted(&self, stamp: VersionStamp) -> bool {
        let key_id = self.key_id(stamp);
        !self.acceptance_is_used && self.accepted.as_deref() == Some(key_id.as_str())
    }

    /// Decrypts the canary from before; without one proves at once.
    pub(super) fn check_canary(&mut self, report: Report, purpose: Purpose) -> Vec<Effect> {
        match self.canary.clone() {
            Some(canary) => {
                self.phase = Phase::Decrypting(report, purpose);
                vec![Effect::Call(Call::DecryptCanary(canary))]
            }
            None => self.prove(report, purpose),
        }
    }

    pub(super) fn prove(&mut self, report: Report, purpose: Purpose) -> Vec<Effect> {
        let stamp = match (&purpose, self.proven) {
            (Purpose::Fallback(_), Some(proven)) => proven,
            _ => report.latest,
        };
        // An accepted key is another one: it does not decrypt what was before.
        let before = self.canary.clone();
        let before = before.filter(|_| purpose != Purpose::Accepted);
        self.phase = Phase::Proving(report, purpose);
        vec![Effect::Call(Call::Prove {
            stamp,
            imported: report.imported,
            before,
        })]
    }

    pub(super) fn decrypted(
        &mut self,
        report: Report,
        purpose: Purpose,
        outcome: Result<(), KeyError>,
        now: Instant,
        random: f64,
    ) -> Vec<Effect> {
        match outcome {
            Ok(()) => {
                self.last_proof.decrypted = Some(now);
                if purpose == Purpose::Older {
                    return self.disproved(report, now, random);
                }
                let canary = self.canary.clone();
                self.succeeded(report, canary, now, random)
            }
            Err(error) => self.lost(report, purpose, None, error, now, random),
        }
    }

    /// The canary from before was not decrypted. `proof`: the version that was proven by the same server.
    fn lost(
        &mut self,
        report: Report,
        purpose: Purpose,
        proof: Option<Canary>,
        error: KeyError,
        now: Instant,
        random: f64,
    ) -> Vec<Effect> {
        let is_believed = self.stale.is_believed(report.latest, now);
        match (purpose, error.api_error, proof) {
            // A standby that lags does not have that version yet, or no longer a snapshot has it.
            (
                Purpose::Older,
                Some(ApiErrorKind::VersionTooNew | ApiErrorKind::VersionTooOld),
                None,
            ) if !is_believed && !self.is_accepted(report.latest) => {
                self.succeeded(report, None, now, random)
            }
            // The key's minimum was raised above the version: that is no sign of another key, and none that a key which
            // was found to be another one is the one before.
            (Purpose::Newer, Some(ApiErrorKind::VersionTooOld), Some(canary))
                if !self.canary_was_refused() =>
            {
                let key_id = self.key_id(canary.stamp).to_string();
                let mut effects = vec![Effect::Log(LogEntry::NoCanary { key_id })];
                effects.extend(self.took_proof(report, Purpose::Newer, canary, now, random));
                effects
            }
            // Something else made the canary, or the version that made it is gone.
            (purpose, Some(ApiErrorKind::BadCiphertext), proof)
            | (
                purpose @ (Purpose::Newer | Purpose::Older),
                Some(ApiErrorKind::VersionTooNew | ApiErrorKind::VersionTooOld),
                proof,
            ) => self.replaced(report, purpose, proof, error, now, random),
            (Purpose::Fallback(rejected), _, _) if !error.is_transient() => {
                self.failed(rejected, now)
            }
            _ => self.failed(error, now),
        }
    }

    pub(super) fn canary_was_refused(&self) -> bool {
        self.canary.as_ref().is_some_and(|it| it.was_refused)
    }

    /// An older version was reported, but the proven one still decrypts: a standby lags.
    fn disproved(&mut self, report: Report, now: Instant, random: f64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.canary_was_refused() {
            // What was reported until now was of the key that refused it.
            self.stale.disprove();
        }
        let is_believed = self.stale.is_believed(report.latest, now);
        let same_number = self.proven.map(|it| it.version) == Some(report.latest.version);
        if is_believed && same_number {
            // The same version, under the creation time of a key that was there only while it was read.
            return self.prove(report, Purpose::Older);
        }
        if is_believed {
            self.stale.disprove();
        }
        if let (true, false, Some(proven)) = (is_believed, self.lag_logged, self.proven) {
            self.lag_logged = true;
            effects.push(Effect::Log(LogEntry::OlderDisproved {
                reported: report.latest.version.get(),
                version: proven.version.get(),
            }));
        }
        let canary = self.canary.clone();
        effects.extend(self.succeeded(report, canary, now, random));
        effects
    }

    /// The canary from before cannot be decrypted: the key is another one.
    fn replaced(
        &mut self,
        report: Report,
        purpose: Purpose,
        proof: Option<Canary>,
        error: KeyError,
        now: Instant,
        random: f64,
    ) -> Vec<Effect> {
        if self.is_accepted(report.latest) {
            return match proof.filter(|proof| proof.stamp == report.latest) {
                Some(proof) => self.took_proof(report, Purpose::Accepted, proof, now, random),
                None => self.prove(report, Purpose::Accepted),
            };
        }
        if let Some(canary) = &mut self.canary {
            canary.was_refused = true;
        }
        let stamp = self.canary.as_ref().map_or(report.latest, |it| it.stamp);
        let before = self.key_id(stamp);
        let found = self.key_id(report.latest);
        let error = error.of_replaced_key(&self.key, &before, &found);
        let mut effects = Vec::new();
        if purpose == Purpose::Older {
            effects.extend(self.log_once(LogEntry::OlderReported {
                version: report.latest.version.get(),
            }));
        }
        let (reason, text) = (error.reason, error.to_string());
        let (failed, classification) = self.fail(error, now);
        effects.extend(failed);
        let entry = if classification == Classification::Verdict {
            LogEntry::Replaced {
                reason,
                error: text,
                before: before.to_string(),
                found: found.to_string(),
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

    pub(super) fn proved(
        &mut self,
        report: Report,
        purpose: Purpose,
        outcome: Result<Proof, KeyError>,
        now: Instant,
        random: f64,
    ) -> Vec<Effect> {
        match (outcome, purpose) {
            (Ok(proof), purpose) => match proof.before {
                Ok(()) => self.took_proof(report, purpose, proof.canary, now, random),
                Err(error) => self.lost(report, purpose, Some(proof.canary), error, now, random),
            },
            // Nobody may stop writing over a fault that passes, and none may be reported as lasting.
            (Err(error), Purpose::Newer) if error.may_pass() => self.failed(error, now),
            // The version before may still work, and must not be hidden by this one.
            (Err(error), Purpose::Newer) if self.proven.is_some() => {
                self.prove(report, Purpose::Fallback(error))
            }
            (Err(error), Purpose::Fallback(rejected)) => {
                let transient = error.is_transient();
                self.failed(if transient { error } else { rejected }, now)
            }
            (Err(error), _) => self.failed(error, now),
        }
    }

    fn took_proof(
        &mut self,
        report: Report,
        purpose: Purpose,
        canary: Canary,
        now: Instant,
        random: f64,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        let key_id = self.key_id(canary.stamp).to_string();
        if self.canary.is_none() {
            effects.push(Effect::Log(LogEntry::NoCanary {
                key_id: key_id.clone(),
            }));
        }
        if let (Purpose::Accepted, Some(before)) = (&purpose, self.proven) {
            effects.push(Effect::Log(LogEntry::ReplacementAccepted {
                before: self.key_id(before).to_string(),
                key_id: key_id.clone(),
            }));
        }
        self.replaces = purpose == Purpose::Accepted;
        let is_accepted = self.is_accepted(canary.stamp);
        let was_accepted = self.proven.is_some_and(|proven| self.is_accepted(proven));
        if was_accepted && !is_accepted {
            self.acceptance_is_used = true;
        }
        let rejected = match purpose {
            Purpose::Fallback(rejected) => Some(rejected),
            _ => None,
        };
        effects.extend(self.note_rejected(rejected, report.latest.version));
        if self.proven != Some(canary.stamp) {
            effects.push(Effect::Log(LogEntry::VersionVerified { key_id }));
        }
        self.last_proof = LastProof {
            encrypted: Some(now),
            decrypted: Some(now),
        };
        effects.extend(self.succeeded(report, Some(canary), now, random));
        effects
    }
}
