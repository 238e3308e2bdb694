//! The refresh of a plugin, and the time that passes for it.

use std::time::Duration;

use super::bounds::LIMITS;
use super::clock::now;
use super::plugin::Plugin;
use super::server::{Data, unanswered};
use crate::keys::refresh::{Call, CallOutcome, Effect, RefreshEvent};
use crate::system::clock::Moment;

/// The longest that a standby lags, as the plugin assumes.
const MAX_LAG: Duration = Duration::from_secs(60);
/// Two rejections make a verdict only when they are this far apart.
const VERDICT_AFTER: Duration = Duration::from_secs(2);

impl Plugin {
    fn pass(&mut self, time: Duration) {
        self.machine.pass(time, now(), self.proof_step);
        let half = MAX_LAG / 2;
        self.lag = self
            .lag
            .map(|lag| if lag + time > half { MAX_LAG } else { half });
        self.rejected = self.rejected.map(|at| (at + time).min(VERDICT_AFTER));
    }

    /// Whether a standby may answer that lags: none lags for longer.
    pub(super) fn may_meet_lag(&self) -> bool {
        self.lag.is_none_or(|lag| lag < MAX_LAG)
    }

    /// It is answered while a standby lags.
    pub(super) fn meets_lag(&mut self) {
        self.lag.get_or_insert_default();
    }

    /// No standby lags any more.
    pub(super) fn lag_ended(&mut self) {
        self.lag = None;
    }

    /// Whether what it last encrypted and decrypted belongs to no version of the key any more.
    pub(super) fn is_truly_replaced(&self, data: &Data) -> bool {
        let canary = self.view.canary.as_ref();
        canary.is_some_and(|canary| !data.has(&self.key(), &canary.ciphertext))
    }

    /// A refresh ended: a verdict needs two rejections in a row, a while apart.
    fn note_rejection(&mut self) {
        let fault = self.view.fault.as_ref();
        let Some(fault) = fault.filter(|it| it.error.may_be_verdict()) else {
            self.rejected = None;
            return;
        };
        if fault.verdict && self.rejected.is_none_or(|at| at < VERDICT_AFTER) {
            self.was_hasty = true;
        }
        self.rejected.get_or_insert_default();
    }

    pub(super) fn handle(&mut self, event: RefreshEvent) {
        let last_encrypted = self.view.last_encrypted.take();
        let effects = self.machine.after(event, last_encrypted, now(), 0.5);
        let mut is_changed = false;
        for effect in effects {
            match effect {
                Effect::Call(call) => self.call = Some(call),
                Effect::Publish(publication) => {
                    let was_announced = self.view.announced.is_some();
                    publication.apply(&mut self.view, Moment::now());
                    if was_announced && self.view.announced.is_none() {
                        // What was announced for a key that is given up counts no more.
                        self.generation += 1;
                    }
                    if self.view.last_success.take().is_some() {
                        self.silence = Some(Duration::ZERO);
                    }
                    is_changed = true;
                }
                Effect::Log(_) | Effect::ReportDenied => {}
            }
        }
        if is_changed {
            let proven = self.view.proven.as_ref().map(|it| it.stamp);
            let (changes, latest) = self.reading;
            if proven == latest {
                self.seen = changes;
            }
            self.reading = (0, None);
            self.note_rejection();
        }
    }

    /// Whether the last refresh found another key than before.
    pub(super) fn found_another_key(&self) -> bool {
        let fault = self.view.fault.as_ref();
        fault.is_some_and(|fault| fault.error.is_replaced())
    }

    /// Begins the next refresh, when it is due.
    fn begin_refresh(&mut self) {
        let wait = self
            .machine
            .due()
            .map(|at| at.saturating_duration_since(now()));
        self.pass(wait.unwrap_or_default());
        self.handle(RefreshEvent::Due);
    }

    /// Begins a refresh, or answers the call that it waits for; nobody does where there is no data. `active`: what the
    /// active node has, whoever answers.
    pub(super) fn step(&mut self, data: Option<&Data>, active: &Data) {
        if self.call.is_none() {
            self.begin_refresh();
        }
        let Some(call) = self.call.take() else {
            return;
        };
        let key = self.key();
        let outcome = match (call, data) {
            (Call::ReadKey, Some(data)) => {
                self.reading = (data.changes, data.latest(&key));
                CallOutcome::key_read(data.read(&key))
            }
            (Call::ReadKey, None) => CallOutcome::key_read(Err(unanswered())),
            (Call::DecryptCanary(canary), Some(data)) => {
                CallOutcome::canary_decrypted(data.decrypt(&key, &canary.ciphertext))
            }
            (Call::DecryptCanary(_), None) => CallOutcome::canary_decrypted(Err(unanswered())),
            (Call::Prove { stamp, before, .. }, Some(data)) => {
                CallOutcome::proved(data.prove(&key, stamp, before.as_ref()))
            }
            (Call::Prove { .. }, None) => CallOutcome::proved(Err(unanswered())),
        };
        let before = (self.view.proven.clone(), self.view.canary.clone());
        self.handle(RefreshEvent::Ended(outcome));
        if let (Some(proven), Some(canary)) = before {
            let now = self.view.proven.as_ref().filter(|now| **now != proven);
            let is_lost = !active.has(&key, &canary.ciphertext);
            let accepted = self.config.accepted.as_deref();
            self.was_taken_in |=
                is_lost && now.is_some_and(|now| accepted != Some(now.key_id.as_str()));
        }
    }

    /// A whole refresh.
    pub(super) fn refresh(&mut self, data: Option<&Data>, active: &Data) {
        self.step(data, active);
        while self.call.is_some() {
            self.step(data, active);
        }
    }

    /// Nothing is heard of Vault for as long as the next limit of Status. Returns whether there is one.
    pub(super) fn fall_silent(&mut self) -> bool {
        let limits = [LIMITS.tolerance, LIMITS.fail_after];
        let next = |silence: Duration| limits.into_iter().find(|limit| silence < *limit);
        let Some(limit) = self.silence.and_then(next) else {
            return false;
        };
        self.pass(limit);
        self.silence = Some(limit);
        true
    }
}
