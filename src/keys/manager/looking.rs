//! Looks at the key: when the next one is, and what each leaves behind.

use ractor::ActorRef;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::debug;

use super::State;
use crate::keys::KeyMsg;
use crate::keys::error::{ErrorKind, KeyError};
use crate::keys::key_id::KeyId;
use crate::keys::look::{self, Found, Known};
use crate::keys::news::{Lag, Reading};
use crate::keys::pace::{self, Hurry, Worked};
use crate::keys::verdict::{Judgement, Suspicion};
use crate::keys::view::{Canary, KeyFault, KeyView, ProvenKey};
use crate::telemetry::FailureStreak;
use crate::telemetry::events;
use crate::vault::{KeyVersion, TransitKey};

/// How a look ended.
#[derive(Debug)]
pub struct LookOutcome(Result<Found, KeyError>);

/// What the looks so far have left, and when the next one is.
#[derive(Debug, Default)]
pub(super) struct Looks {
    lag: Lag,
    suspicion: Suspicion,
    worked: Worked,
    /// Whether Vault contradicted what is known since the last look began.
    contradicted: bool,
    /// Why the latest version does not work, as it was logged last.
    spurned: Option<KeyError>,
    /// Those that failed since the last one that succeeded.
    failed: FailureStreak,
    under_way: bool,
    last: Option<Instant>,
    timer: Option<AbortHandle>,
    /// When that timer fires.
    due: Option<Instant>,
}

impl Looks {
    /// Whether the last look found that the latest version does not work.
    pub(super) fn latest_is_spurned(&self) -> bool {
        self.spurned.is_some()
    }
}

impl State {
    pub(in crate::keys) fn look(&mut self, myself: &ActorRef<KeyMsg>) {
        if self.looks.under_way {
            return;
        }
        let known = self.known(Instant::now());
        self.looks.under_way = true;
        self.looks.contradicted = false;
        self.looks.due = None;
        self.looks.last = Some(Instant::now());
        let (myself, caller, key) = (myself.clone(), self.caller.clone(), self.key.clone());
        self.tasks.spawn(async move {
            let outcome = look::look(&caller, &key, known).await;
            let _ = myself.cast(KeyMsg::Looked(LookOutcome(outcome)));
        });
    }

    fn known(&self, now: Instant) -> Known {
        let view = self.args.view.borrow();
        let doubted = self.looks.contradicted || view.fault.is_some();
        Known {
            proven: view.proven.as_ref().map(|proven| proven.stamp),
            canary: view.canary.clone(),
            due: self.looks.worked.due(doubted, now),
            believed: self.looks.lag.believed(now),
        }
    }

    pub(in crate::keys) fn looked(
        &mut self,
        myself: &ActorRef<KeyMsg>,
        LookOutcome(outcome): LookOutcome,
    ) {
        self.looks.under_way = false;
        let now = Instant::now();
        let next = match outcome {
            Ok(found) => {
                self.note_found(found, now);
                let verdict = self.args.view.borrow().verdict().is_some();
                let hurry = Hurry {
                    contradicted: self.looks.contradicted,
                    failing: verdict || self.looks.latest_is_spurned(),
                    belief: self.looks.lag.belief_in(now),
                };
                pace::after_success(hurry, fastrand::f64())
            }
            Err(error) => {
                let judgement = self.note_failed(error, now);
                let proven = self.args.view.borrow().proven.is_some();
                pace::after_failure(judgement, self.looks.failed.count(), proven)
            }
        };
        self.look_at(myself, now + next);
    }

    fn note_found(&mut self, found: Found, now: Instant) {
        let ended = self.looks.failed.end(now);
        self.looks.suspicion = Suspicion::default();
        self.looks.lag.note(found.reading, found.seen, now);
        if found.disproved {
            self.looks.lag.disproved();
        }
        self.note_spurned(found.spurned, found.seen.version);
        if let Some(proof) = &found.proof {
            self.looks.worked.decrypted = Some(now);
            if proof.encrypted {
                self.looks.worked.encrypted = Some(now);
            }
        }
        if found.reading == Reading::Earlier && found.proof.is_some() {
            events::Restored {
                version: found.seen.version.get(),
            }
            .emit();
        }
        let (key, proved) = (&self.key, found.proof.is_some() || found.disproved);
        self.args.view.send_modify(|view| {
            view.last_success = Some(now);
            // What an earlier version was heard of proves nothing against a verdict.
            if (proved || view.verdict().is_none())
                && let Some(fault) = view.fault.take()
            {
                events::KeyRecovered {
                    ended: fault.error.to_string(),
                    failed: ended.map(|it| it.failed),
                    lasted: ended.map(|it| it.lasted()),
                }
                .emit();
            }
            if let Some(proof) = found.proof {
                take_proof(view, key, proof.canary);
            }
        });
    }

    /// Logs, once, that the latest version does not work.
    fn note_spurned(&mut self, spurned: Option<KeyError>, version: KeyVersion) {
        if let Some(error) = &spurned
            && self.looks.spurned != spurned
        {
            events::LatestUnusable {
                error: error.to_string(),
                version: version.get(),
            }
            .emit();
        }
        self.looks.spurned = spurned;
    }

    /// Publishes why the look failed.
    fn note_failed(&mut self, error: KeyError, now: Instant) -> Judgement {
        let refused = error.may_be_verdict();
        let (suspicion, judgement) = self.looks.suspicion.judge(refused, now);
        self.looks.suspicion = suspicion;
        self.looks.failed.failed(now);
        let verdict = judgement == Judgement::Verdict;
        if verdict && error.kind == ErrorKind::Denied {
            self.caller.sessions.report_denied();
        }
        self.publish_fault(KeyFault { error, verdict });
        judgement
    }

    fn publish_fault(&self, fault: KeyFault) {
        let news = self.args.view.borrow().fault.as_ref() != Some(&fault);
        if !news {
            return;
        }
        let error = fault.error.to_string();
        match fault.verdict {
            true => events::KeyUnusable { error }.emit(),
            false => events::KeyRefreshFailed { error }.emit(),
        }
        self.args.view.send_modify(|view| {
            // A verdict stands until something succeeds, whatever passing fault comes after.
            if fault.verdict || view.verdict().is_none() {
                view.fault = Some(fault);
            }
        });
    }

    /// An Encrypt worked, with this version.
    pub(super) fn note_encrypted(&mut self, myself: &ActorRef<KeyMsg>, version: KeyVersion) {
        let view = self.args.view.borrow();
        let proven = view.proven.as_ref().map(|proven| proven.stamp.version);
        drop(view);
        if proven == Some(version) {
            self.looks.worked.encrypted = Some(Instant::now());
            self.looks.lag.encrypted(version);
        } else if proven < Some(version) {
            self.look_soon(myself);
        }
    }

    /// Vault contradicted what is known: the next look is soon, and proves again what it can.
    pub(super) fn note_contradiction(&mut self, myself: &ActorRef<KeyMsg>) {
        self.looks.contradicted = true;
        self.look_soon(myself);
    }

    /// Looks before the timer says so, but not in a storm.
    pub(super) fn look_soon(&mut self, myself: &ActorRef<KeyMsg>) {
        let now = Instant::now();
        let soon = now + pace::provoked(self.looks.last, now);
        // Setting a timer again for each of many callers would keep it from ever firing.
        if self.looks.due.is_none_or(|due| due > soon) {
            self.look_at(myself, soon);
        }
    }

    fn look_at(&mut self, myself: &ActorRef<KeyMsg>, due: Instant) {
        if let Some(timer) = self.looks.timer.take() {
            timer.abort();
        }
        let wait = due.saturating_duration_since(Instant::now());
        debug!(wait_ms = wait.as_millis() as u64, "next look at the key");
        let timer = myself.send_after(wait, || KeyMsg::Look);
        self.looks.timer = Some(timer.abort_handle());
        self.looks.due = Some(due);
    }
}

fn take_proof(view: &mut KeyView, key: &TransitKey, canary: Canary) {
    let proven = ProvenKey {
        key_id: KeyId::new(key, canary.stamp),
        stamp: canary.stamp,
    };
    if view.proven.as_ref() != Some(&proven) {
        let key_id = proven.key_id.to_string();
        events::VersionVerified { key_id }.emit();
    }
    view.proven = Some(proven);
    view.canary = Some(canary);
}
