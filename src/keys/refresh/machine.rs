//! The refresh as a pure state machine: what follows from what happened. It does no I/O; time and
//! randomness are parameters.
//!
//! A refresh reads the key and compares its latest version with the proven one (`freshness`). A
//! version is proven by encrypting a canary pinned to it and decrypting that. Whether a newer
//! version is a rotation or another key shows in the canary from before: a rotated key still decrypts
//! it, a replaced one does not, and is not written to until an operator accepts it.

mod conclusion;

use tokio::time::Instant;

use super::effect::{Call, Effect};
use super::event::{CallObservation, CallOutcome, Outcome, RefreshEvent};
use super::freshness::{Freshness, StaleReads};
use super::log::LogEntry;
use super::schedule::{self, LastProof, ProofDue};
use super::verdict::{Classification, RefusalStreak};
use crate::keys::error::KeyError;
use crate::keys::key_id::KeyId;
use crate::keys::view::{Canary, KeyFault, KeyView};
use crate::telemetry::FailureStreak;
use crate::vault::{ApiErrorKind, KeyVersion, TransitKey, VersionStamp};

/// Why a canary is decrypted or a version proven.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Purpose {
    /// The proven version has to be shown again.
    Routine(ProofDue),
    /// A newer version was reported.
    Newer,
    /// It works, as this canary shows: is it the same key?
    Lineage(Canary),
    /// An older version has been reported for so long that it is believed.
    Older,
    /// The operator accepted the key that was reported.
    Accepted,
    /// The latest version does not work, for this reason: the one before still may.
    Fallback(KeyError),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Idle,
    Reading,
    Decrypting(Report, Purpose),
    Proving(Report, Purpose),
}

/// What Vault reported of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Report {
    latest: VersionStamp,
    imported: bool,
}

/// The state.
#[derive(Debug)]
pub(in crate::keys) struct Machine {
    key: TransitKey,
    accepted: Option<String>,
    /// Whether a later version than the accepted one was proven.
    acceptance_is_used: bool,
    /// Whether the version that was just proven belongs to another key than before.
    replaces: bool,
    proven: Option<VersionStamp>,
    canary: Option<Canary>,
    phase: Phase,
    due: Option<Instant>,
    last_refresh: Option<Instant>,
    stale: StaleReads,
    refusals: RefusalStreak,
    last_proof: LastProof,
    /// Whether Vault contradicted what is known since the last refresh began.
    contradicted: bool,
    /// Whether this refresh follows a contradiction.
    on_demand: bool,
    /// How many of those in a row found that all is well.
    in_vain: u32,
    /// Why the latest version does not work.
    latest_rejected: Option<KeyError>,
    failures: FailureStreak,
    fault: Option<KeyFault>,
    /// What was logged since something succeeded.
    logged: Vec<LogEntry>,
    /// Whether it was logged that an older version was reported although the proven one works.
    lag_logged: bool,
}

impl Machine {
    /// Goes on from what an earlier actor or process had found out.
    pub(in crate::keys) fn new(key: TransitKey, accepted: Option<String>, view: &KeyView) -> Self {
        Self {
            key,
            accepted,
            acceptance_is_used: false,
            replaces: false,
            proven: view.proven.as_ref().map(|proven| proven.stamp),
            canary: view.canary.clone(),
            phase: Phase::Idle,
            due: None,
            last_refresh: None,
            stale: StaleReads::default(),
            refusals: RefusalStreak::default(),
            last_proof: LastProof::default(),
            contradicted: false,
            on_demand: false,
            in_vain: 0,
            latest_rejected: None,
            failures: FailureStreak::default(),
            fault: view.fault.clone(),
            logged: Vec::new(),
            lag_logged: false,
        }
    }

    /// Goes on from what the backend before had found out, and refreshes at once. Returns what is to
    /// be logged of the key that serves now.
    pub(in crate::keys) fn promote(&mut self, view: &KeyView, now: Instant) -> Option<LogEntry> {
        let proven = view.proven.as_ref()?;
        self.proven = Some(proven.stamp);
        self.canary.clone_from(&view.canary);
        self.refresh_at(now);
        let is_new = view.announced.as_ref() != Some(proven);
        let key_id = proven.key_id.to_string();
        is_new.then_some(LogEntry::VersionVerified { key_id })
    }

    /// When the next refresh begins, unless one is under way.
    pub(in crate::keys) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether the last refresh found that the latest version does not work.
    pub(in crate::keys) fn latest_is_rejected(&self) -> bool {
        self.latest_rejected.is_some()
    }

    /// What follows from an event. `last_encrypted`: the version that encrypted last for a caller,
    /// and when. `random` is between 0 and 1.
    pub(in crate::keys) fn after(
        &mut self,
        event: RefreshEvent,
        last_encrypted: Option<(KeyVersion, Instant)>,
        now: Instant,
        random: f64,
    ) -> Vec<Effect> {
        self.note_encrypted(last_encrypted);
        match event {
            RefreshEvent::Due => self.begin(now),
            RefreshEvent::Observed(observation) => {
                self.observed(observation, now);
                Vec::new()
            }
            RefreshEvent::Ended(CallOutcome(outcome)) => self.ended(outcome, now, random),
        }
    }

    fn note_encrypted(&mut self, last: Option<(KeyVersion, Instant)>) {
        let Some((version, at)) = last else {
            return;
        };
        if self.proven.is_some_and(|proven| proven.version == version) {
            self.last_proof.encrypted = self.last_proof.encrypted.max(Some(at));
            self.stale.note_encrypted(version, at);
        }
    }

    fn observed(&mut self, observation: CallObservation, now: Instant) {
        let in_vain = match observation {
            CallObservation::Recovered | CallObservation::NewerVersion => 0,
            CallObservation::Contradicted => {
                self.contradicted = true;
                self.in_vain
            }
        };
        let wait = schedule::on_demand_delay(self.last_refresh, in_vain, now);
        self.refresh_at(now + wait);
    }

    /// Refreshes at this time, unless that is planned for earlier or under way.
    fn refresh_at(&mut self, at: Instant) {
        if self.phase == Phase::Idle {
            self.due = self.due.into_iter().chain([at]).min();
        }
    }

    fn begin(&mut self, now: Instant) -> Vec<Effect> {
        if self.phase != Phase::Idle {
            return Vec::new();
        }
        self.due = None;
        self.last_refresh = Some(now);
        self.on_demand = std::mem::take(&mut self.contradicted);
        self.phase = Phase::Reading;
        vec![Effect::Call(Call::ReadKey)]
    }

    fn ended(&mut self, outcome: Outcome, now: Instant, random: f64) -> Vec<Effect> {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        match (phase, outcome) {
            (Phase::Reading, Outcome::KeyRead(Ok(info))) => {
                let report = Report {
                    latest: info.latest,
                    imported: info.imported,
                };
                self.compare(report, now, random)
            }
            (Phase::Reading, Outcome::KeyRead(Err(error))) => self.failed(error, now),
            (Phase::Decrypting(report, purpose), Outcome::CanaryDecrypted(outcome)) => {
                self.decrypted(report, purpose, outcome, now, random)
            }
            (Phase::Proving(report, purpose), Outcome::Proved(outcome)) => {
                self.proved(report, purpose, outcome, now, random)
            }
            // The outcome of another phase: nothing is in flight twice, so this cannot happen.
            (phase, _) => {
                self.phase = phase;
                Vec::new()
            }
        }
    }

    /// What a report of the key asks for.
    fn compare(&mut self, report: Report, now: Instant, random: f64) -> Vec<Effect> {
        let Some(proven) = self.proven else {
            return self.prove(report, Purpose::Newer);
        };
        let freshness = Freshness::of(proven, report.latest);
        self.stale.note(freshness, report.latest, now);
        let contradicted = self.on_demand || self.fault.is_some();
        match freshness {
            Freshness::Unchanged => match self.last_proof.due(contradicted, now) {
                ProofDue::Nothing => self.succeeded(report, None, now, random),
                due => self.check_canary(report, Purpose::Routine(due)),
            },
            Freshness::Newer => self.prove(report, Purpose::Newer),
            Freshness::Older
                if self.canary.is_none() && !self.stale.is_believed(report.latest, now) =>
            {
                self.succeeded(report, None, now, random)
            }
            Freshness::Older => self.check_canary(report, Purpose::Older),
        }
    }

    /// Whether the operator accepts this version of a replaced key. What was accepted once and
    /// rotated since is no longer.
    fn is_accepted(&self, stamp: VersionStamp) -> bool {
        let key_id = KeyId::new(&self.key, stamp);
        !self.acceptance_is_used && self.accepted.as_deref() == Some(key_id.as_str())
    }

    /// Decrypts the canary from before; without one proves at once.
    fn check_canary(&mut self, report: Report, purpose: Purpose) -> Vec<Effect> {
        match self.canary.clone() {
            Some(canary) => {
                self.phase = Phase::Decrypting(report, purpose);
                vec![Effect::Call(Call::DecryptCanary(canary))]
            }
            None => self.prove(report, purpose),
        }
    }

    fn prove(&mut self, report: Report, purpose: Purpose) -> Vec<Effect> {
        let stamp = match (&purpose, self.proven) {
            (Purpose::Fallback(_), Some(proven)) => proven,
            _ => report.latest,
        };
        self.phase = Phase::Proving(report, purpose);
        let imported = report.imported;
        vec![Effect::Call(Call::Prove { stamp, imported })]
    }

    fn decrypted(
        &mut self,
        report: Report,
        purpose: Purpose,
        outcome: Result<(), KeyError>,
        now: Instant,
        random: f64,
    ) -> Vec<Effect> {
        let error = match outcome {
            Ok(()) => {
                self.last_proof.decrypted = Some(now);
                return match purpose {
                    Purpose::Routine(ProofDue::Canary) => {
                        let canary = self.canary.clone();
                        self.succeeded(report, canary, now, random)
                    }
                    Purpose::Older => self.disproved(report, now, random),
                    Purpose::Lineage(canary) => {
                        self.took_proof(report, Purpose::Newer, canary, now, random)
                    }
                    purpose => self.prove(report, purpose),
                };
            }
            Err(error) => error,
        };
        let is_believed = self.stale.is_believed(report.latest, now);
        match (purpose, error.api_error) {
            // A standby that lags does not have that version yet, or no longer a snapshot has it.
            (Purpose::Older, Some(ApiErrorKind::VersionTooNew | ApiErrorKind::VersionTooOld))
                if !is_believed =>
            {
                self.succeeded(report, None, now, random)
            }
            // The key's minimum was raised above the version: that is no sign of another key.
            (Purpose::Lineage(canary), Some(ApiErrorKind::VersionTooOld)) => {
                self.took_proof(report, Purpose::Newer, canary, now, random)
            }
            // Something else made the canary, or the version that made it is gone.
            (purpose, Some(ApiErrorKind::BadCiphertext))
            | (
                purpose @ (Purpose::Lineage(_) | Purpose::Older),
                Some(ApiErrorKind::VersionTooNew | ApiErrorKind::VersionTooOld),
            ) => self.replaced(report, purpose, error, now, random),
            (Purpose::Fallback(rejected), _) if !error.is_transient() => self.failed(rejected, now),
            _ => self.failed(error, now),
        }
    }

    /// An older version was reported, but the proven one still decrypts: a standby lags.
    fn disproved(&mut self, report: Report, now: Instant, random: f64) -> Vec<Effect> {
        let mut effects = Vec::new();
        let is_believed = self.stale.is_believed(report.latest, now);
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
        error: KeyError,
        now: Instant,
        random: f64,
    ) -> Vec<Effect> {
        if self.is_accepted(report.latest) {
            return match purpose {
                Purpose::Lineage(canary) => {
                    self.took_proof(report, Purpose::Accepted, canary, now, random)
                }
                _ => self.prove(report, Purpose::Accepted),
            };
        }
        let stamp = self.canary.as_ref().map_or(report.latest, |it| it.stamp);
        let before = KeyId::new(&self.key, stamp);
        let found = KeyId::new(&self.key, report.latest);
        let error = error.of_replaced_key(&self.key, &before, &found);
        let mut effects = Vec::new();
        if purpose == Purpose::Older {
            effects.extend(self.log_once(LogEntry::OlderReported {
                version: report.latest.version.get(),
            }));
        }
        let text = error.to_string();
        let (failed, classification) = self.fail(error, now);
        effects.extend(failed);
        let entry = if classification == Classification::Verdict {
            LogEntry::Replaced {
                error: text,
                before: before.to_string(),
                found: found.to_string(),
            }
        } else {
            LogEntry::RefreshFailed { error: text }
        };
        effects.extend(self.log_once(entry));
        effects
    }

    fn proved(
        &mut self,
        report: Report,
        purpose: Purpose,
        outcome: Result<Canary, KeyError>,
        now: Instant,
        random: f64,
    ) -> Vec<Effect> {
        match (outcome, purpose) {
            (Ok(canary), Purpose::Newer) if self.canary.is_some() => {
                self.check_canary(report, Purpose::Lineage(canary))
            }
            (Ok(canary), purpose) => self.took_proof(report, purpose, canary, now, random),
            // Nobody may stop writing over a fault that passes, and none may be reported as lasting.
            (Err(error), Purpose::Newer) if error.may_pass() => self.failed(error, now),
            // The version before may still work, and must not be hidden by this one.
            (Err(error), Purpose::Newer) if self.proven.is_some() => {
                self.check_canary(report, Purpose::Fallback(error))
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
        let key_id = KeyId::new(&self.key, canary.stamp).to_string();
        if self.canary.is_none() {
            effects.push(Effect::Log(LogEntry::NoCanary {
                key_id: key_id.clone(),
            }));
        }
        if let (Purpose::Accepted, Some(before)) = (&purpose, self.proven) {
            effects.push(Effect::Log(LogEntry::ReplacementAccepted {
                before: KeyId::new(&self.key, before).to_string(),
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

#[cfg(test)]
mod tests;
