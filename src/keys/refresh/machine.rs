//! The refresh as a pure state machine: what follows from what happened. It does no I/O; time and
//! randomness are parameters.
//!
//! A refresh reads the key and compares its latest version with the proven one (`freshness`). A
//! version is proven by encrypting a canary pinned to it and decrypting that. Whether a newer
//! version is a rotation or another key shows in the canary from before: a rotated key still decrypts
//! it, a replaced one does not, and is not written to until an operator accepts it.

mod conclusion;
mod phase;
mod proof;
#[cfg(all(test, feature = "kmsctl"))]
mod snapshot;

use tokio::time::Instant;

use super::effect::{Call, Effect};
use super::event::{CallObservation, CallOutcome, Outcome, RefreshEvent};
use super::freshness::{Freshness, StaleReads};
use super::log::LogEntry;
use super::schedule::{self, LastProof, ProofDue};
use super::verdict::RefusalStreak;
use crate::keys::error::KeyError;
use crate::keys::key_id::KeyId;
use crate::keys::view::{Canary, KeyFault, KeyView};
use crate::telemetry::FailureStreak;
use crate::vault::{KeyVersion, TransitKey, VersionStamp};
use phase::{Phase, Purpose, Report};

/// The state.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(in crate::keys) struct Machine {
    key: TransitKey,
    suffix: Option<String>,
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
        let acceptance_is_used = is_used(accepted.as_deref(), view);
        Self {
            key,
            suffix: None,
            accepted,
            acceptance_is_used,
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

    /// Adds this to each key_id.
    pub(in crate::keys) fn with_suffix(self, suffix: Option<String>) -> Self {
        Self { suffix, ..self }
    }

    /// The key_id of the key at a stamp of its life.
    fn key_id(&self, stamp: VersionStamp) -> KeyId {
        KeyId::with_suffix(&self.key, stamp, self.suffix.as_deref())
    }

    /// Goes on from what the backend before had found out, and refreshes at once. Returns what is to
    /// be logged of the key that serves now.
    pub(in crate::keys) fn promote(&mut self, view: &KeyView, now: Instant) -> Option<LogEntry> {
        let proven = view.proven.as_ref()?;
        self.proven = Some(proven.stamp);
        self.canary.clone_from(&view.canary);
        self.acceptance_is_used |= is_used(self.accepted.as_deref(), view);
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
                    min_decryption_version: info.min_decryption_version,
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
                ProofDue::Canary => self.check_canary(report, Purpose::Routine),
                ProofDue::RoundTrip => self.prove(report, Purpose::Routine),
            },
            Freshness::Newer => self.prove(report, Purpose::Newer),
            // No standby lags that has the same version with another creation time.
            Freshness::Older
                if self.canary.is_none()
                    && report.latest.version < proven.version
                    && !self.stale.is_believed(report.latest, now) =>
            {
                self.succeeded(report, None, now, random)
            }
            Freshness::Older => self.check_canary(report, Purpose::Older),
        }
    }
}

/// Whether this acceptance was followed by a rotation, be it before a restart: it is for one key, and a
/// snapshot without the later version was never accepted.
fn is_used(accepted: Option<&str>, view: &KeyView) -> bool {
    accepted.is_some() && view.used_acceptance.as_deref() == accepted
}

#[cfg(test)]
mod tests;
