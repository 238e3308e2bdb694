//! For the model in `keys::model`: lets time pass for a machine, and hashes what the future of a machine and
//! of a view depends on.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use tokio::time::Instant;

use super::Machine;
use super::phase::{Phase, Purpose, Report};
use crate::keys::error::KeyError;
use crate::keys::refresh::schedule::LastProof;
use crate::keys::view::{Canary, KeyFault, KeyView};

/// From here on an age changes nothing: longer than any limit of `schedule`.
const OLDEST: u64 = 300;
/// Ages of reports of an older version are rounded up to this, so that a model has few of them.
const BELIEF_STEP: u64 = 30;
/// More failures in a row than these change nothing.
const MAX_FAILURES: u32 = 5;

impl Machine {
    /// What happened at some time happened so much longer ago, as seen from `now`. Ages of proofs are rounded up to
    /// `proof_step` seconds: a proof is then repeated earlier.
    pub(in crate::keys) fn pass(&mut self, time: Duration, now: Instant, proof_step: u64) {
        let earlier = |at: Instant, step: u64| {
            let age = (now + time).duration_since(at).as_secs_f64();
            let steps = (age / step as f64).ceil() as u64;
            let age = (steps * step).min(OLDEST);
            now.checked_sub(Duration::from_secs(age)).unwrap_or(now)
        };
        self.due = self.due.map(|at| at.checked_sub(time).unwrap_or(now));
        self.last_refresh = self.last_refresh.map(|at| earlier(at, 1));
        let LastProof {
            encrypted,
            decrypted,
        } = &mut self.last_proof;
        *encrypted = encrypted.map(|at| earlier(at, proof_step));
        *decrypted = decrypted.map(|at| earlier(at, proof_step));
        if let Some((_, since)) = self.stale.since() {
            *since = earlier(*since, BELIEF_STEP);
        }
        if let Some(since) = self.refusals.since() {
            *since = earlier(*since, 1);
        }
    }

    /// Hashes it, with its times relative to `now`. What is only logged is left out.
    pub(in crate::keys) fn hash_at<H: Hasher>(&self, now: Instant, hasher: &mut H) {
        let Self {
            key,
            suffix,
            accepted,
            acceptance_is_used,
            replaces,
            proven,
            canary,
            phase,
            due,
            last_refresh,
            stale,
            refusals,
            last_proof,
            contradicted,
            on_demand,
            in_vain,
            latest_rejected,
            failures,
            fault,
            logged: _,
            lag_logged: _,
        } = self;
        (key, suffix, accepted, acceptance_is_used, replaces).hash(hasher);
        proven.map(|it| (it.created, it.version.get())).hash(hasher);
        hash_canary(canary.as_ref(), hasher);
        hash_phase(phase, hasher);
        let age = |at: Instant| now.saturating_duration_since(at);
        due.map(|at| at.saturating_duration_since(now)).hash(hasher);
        last_refresh.map(age).hash(hasher);
        let (mut stale, mut refusals) = (*stale, *refusals);
        let stale = stale.since();
        stale
            .map(|(it, since)| (it.created, it.version.get(), age(*since)))
            .hash(hasher);
        refusals.since().map(|since| age(*since)).hash(hasher);
        last_proof.encrypted.map(age).hash(hasher);
        last_proof.decrypted.map(age).hash(hasher);
        (contradicted, on_demand, in_vain.min(&MAX_FAILURES)).hash(hasher);
        latest_rejected.as_ref().map(kind_of).hash(hasher);
        failures.count().min(MAX_FAILURES).hash(hasher);
        hash_fault(fault.as_ref(), hasher);
    }
}

impl KeyView {
    /// Hashes it without its times, which the model keeps elsewhere.
    pub(in crate::keys) fn hash_known<H: Hasher>(&self, hasher: &mut H) {
        let Self {
            announced,
            proven,
            announced_before,
            key_ids,
            used_acceptance,
            min_decryption_version,
            is_refreshed,
            status_asked,
            canary,
            last_success: _,
            unconfirmed_since,
            last_encrypted,
            fault,
            accepted_replacement,
        } = self;
        for proven in [announced, proven] {
            let text = proven.as_ref().map(|it| it.key_id.as_str());
            text.hash(hasher);
        }
        for before in announced_before {
            before.key_id.as_str().hash(hasher);
        }
        for key_id in key_ids.iter() {
            key_id.as_str().hash(hasher);
        }
        (used_acceptance, min_decryption_version, is_refreshed).hash(hasher);
        (status_asked, accepted_replacement).hash(hasher);
        (unconfirmed_since.is_some(), last_encrypted.is_some()).hash(hasher);
        hash_canary(canary.as_ref(), hasher);
        hash_fault(fault.as_ref(), hasher);
    }
}

/// What the future depends on of an error: not its text.
fn kind_of(error: &KeyError) -> impl Hash + use<> {
    let kind = std::mem::discriminant(&error.kind);
    let api_error = error.api_error.as_ref().map(std::mem::discriminant);
    (kind, api_error, error.reason)
}

fn hash_fault<H: Hasher>(fault: Option<&KeyFault>, hasher: &mut H) {
    fault
        .map(|it| (kind_of(&it.error), it.verdict))
        .hash(hasher);
}

fn hash_canary<H: Hasher>(canary: Option<&Canary>, hasher: &mut H) {
    canary
        .map(|it| {
            let stamp = (it.stamp.created, it.stamp.version.get());
            (it.ciphertext.as_str(), stamp, it.was_refused)
        })
        .hash(hasher);
}

fn hash_phase<H: Hasher>(phase: &Phase, hasher: &mut H) {
    std::mem::discriminant(phase).hash(hasher);
    let (Phase::Decrypting(report, purpose) | Phase::Proving(report, purpose)) = phase else {
        return;
    };
    let Report {
        latest,
        min_decryption_version,
        imported,
    } = report;
    let latest = (latest.created, latest.version.get());
    (latest, min_decryption_version, imported).hash(hasher);
    std::mem::discriminant(purpose).hash(hasher);
    match purpose {
        Purpose::Fallback(error) => kind_of(error).hash(hasher),
        Purpose::Routine | Purpose::Newer | Purpose::Older | Purpose::Accepted => {}
    }
}
