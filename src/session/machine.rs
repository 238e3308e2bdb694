//! The session's state machine: one pure function from an event to the next step.
//!
//! It holds no token and does no I/O. The actor carries out the steps that it returns and reports
//! their outcomes as events; `examples/fleet.rs` runs ten thousand machines against a simulated
//! Vault.

mod event;
mod renewal;

use std::time::Duration;

use tokio::time::Instant;

use super::active_token::ActiveToken;
use super::schedule::{self, NextAction};
use crate::vault::Lease;
pub use event::{Event, Failure, Step};

/// Waiting calls bring the next health check forward, but not closer to the last one than this.
const MIN_HEALTH_INTERVAL: Duration = Duration::from_millis(250);

/// What the session is doing, and the token that it has.
///
/// Logins and renewals are planned and carried out side by side: neither cancels the other, except
/// that what succeeds makes the other unnecessary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    login: LoginPhase,
    renewal: RenewalPhase,
    active: Option<ActiveToken>,
    /// Logins that failed since one succeeded.
    failures: u32,
    /// Renewals that failed since one succeeded.
    renewal_failures: u32,
    /// Whether the planned login is needed only if no renewal succeeds before it.
    is_fallback: bool,
    /// Whether a renewal succeeded while that login was in progress: its next step does not begin.
    is_obsolete: bool,
    /// Whether the last health check found that Vault cannot serve logins.
    vault_unavailable: bool,
    /// Until when logins are suspended because Vault counts rejected credentials.
    suspended_until: Option<Instant>,
    last_health_check: Option<Instant>,
    /// Consecutive logins that followed a denial.
    denials: u32,
    /// Consecutive tokens that Vault rejected soon after it had granted them.
    short_lived: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum LoginPhase {
    /// No login is needed.
    Idle,
    /// The step begins at that time.
    Scheduled { at: Instant, step: Step },
    /// The step is in progress since then.
    InProgress { step: Step, since: Instant },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum RenewalPhase {
    /// None is planned.
    Idle,
    /// It begins at that time.
    Scheduled(Instant),
    /// It is in progress since then.
    InProgress(Instant),
}

impl Machine {
    /// Continues with the session of an earlier actor, or begins without one.
    /// `suspended_until`: until when that actor had suspended logins.
    #[must_use]
    pub fn start(
        session: Option<ActiveToken>,
        suspended_until: Option<Instant>,
        now: Instant,
        random: f64,
    ) -> Self {
        let mut machine = Self {
            login: LoginPhase::Idle,
            renewal: RenewalPhase::Idle,
            active: session,
            failures: 0,
            renewal_failures: 0,
            is_fallback: false,
            is_obsolete: false,
            vault_unavailable: false,
            suspended_until: suspended_until.filter(|&until| until > now),
            last_health_check: None,
            denials: 0,
            short_lived: 0,
        };
        match session {
            Some(active) => {
                let next = schedule::after_login(active.remaining(now), random);
                machine.plan(next, now);
            }
            None => machine.log_in_at(now),
        }
        machine
    }

    /// The machine after an event, and the steps that begin now. `random` is between 0 and 1.
    #[must_use]
    pub fn after(mut self, event: Event, now: Instant, random: f64) -> (Self, Vec<Step>) {
        self.respond(event, now, random);
        self.drop_expired(now);
        self.suspended_until = self.suspended_until.filter(|&until| until > now);
        let mut steps = Vec::new();
        if let LoginPhase::Scheduled { at, step } = self.login
            && at <= now
        {
            self.login = LoginPhase::InProgress { step, since: now };
            if step == Step::CheckHealth {
                self.last_health_check = Some(now);
            }
            steps.push(step);
        }
        if let RenewalPhase::Scheduled(at) = self.renewal
            && at <= now
        {
            self.renewal = RenewalPhase::InProgress(now);
            steps.push(Step::Renew);
        }
        (self, steps)
    }

    /// When [`Event::TimerFired`] is due, unless another event comes first.
    #[must_use]
    pub fn wake(&self) -> Option<Instant> {
        let login = match self.login {
            LoginPhase::Scheduled { at, .. } => Some(at),
            LoginPhase::Idle | LoginPhase::InProgress { .. } => None,
        };
        let renewal = match self.renewal {
            RenewalPhase::Scheduled(at) => Some(at),
            RenewalPhase::Idle | RenewalPhase::InProgress(_) => None,
        };
        let expiry = self.active.and_then(|active| active.expires);
        login.into_iter().chain(renewal).chain(expiry).min()
    }

    /// Whether there is a token to work with.
    #[must_use]
    pub fn has_session(&self) -> bool {
        self.active.is_some()
    }

    /// The lease of the token in use.
    #[must_use]
    pub fn active_token(&self) -> Option<ActiveToken> {
        self.active
    }

    /// Until when logins are suspended.
    #[must_use]
    pub fn suspended_until(&self) -> Option<Instant> {
        self.suspended_until
    }

    /// How many tokens in a row Vault rejected soon after it had granted them.
    pub(super) fn short_lived(&self) -> u32 {
        self.short_lived
    }

    /// Whether a login is planned, in progress, or suspended.
    pub(super) fn needs_login(&self) -> bool {
        self.login != LoginPhase::Idle || self.suspended_until.is_some()
    }

    fn respond(&mut self, event: Event, now: Instant, random: f64) {
        // A late outcome, such as of the renewal of a token that was found invalid meanwhile.
        if event.ends().is_some_and(|step| !self.is_in_progress(step)) {
            return;
        }
        if self.is_fallback && self.is_obsolete && event.ends_without_grant() {
            return self.end_fallback();
        }
        match event {
            Event::TimerFired => {}
            Event::SessionRequested => self.expedite(),
            Event::VaultReady => {
                let wait = schedule::login_delay(random, self.vault_unavailable);
                self.vault_unavailable = false;
                self.schedule_login(now + wait, Step::Login);
            }
            Event::VaultUnavailable => {
                self.vault_unavailable = true;
                self.log_in_at(now + schedule::health_delay(random));
            }
            Event::Granted(lease) => self.granted(lease, now, random),
            Event::Renewed(lease) => self.renewed(lease, now, random),
            Event::Failed(failure) => self.login_failed(failure, now, random),
            Event::NotRenewed(failure) => self.renewal_failed(failure, now, random),
            Event::TokenInvalid => self.token_invalid(now, random),
            Event::PermissionDenied => self.permission_denied(now),
            Event::NewWrappingToken => {
                if self.is_healthy(now) {
                    self.log_in_now(now);
                }
            }
            Event::RetryNow => {
                let is_suspended = self.is_suspended(now);
                self.suspended_until = None;
                if is_suspended || !self.is_healthy(now) {
                    self.log_in_now(now);
                }
            }
        }
    }

    fn is_in_progress(&self, step: Step) -> bool {
        match (step, self.login) {
            (Step::Renew, _) => matches!(self.renewal, RenewalPhase::InProgress(_)),
            (_, LoginPhase::InProgress { step: running, .. }) => running == step,
            _ => false,
        }
    }

    fn granted(&mut self, lease: Lease, now: Instant, random: f64) {
        let LoginPhase::InProgress { since, .. } = self.login else {
            return;
        };
        let active = ActiveToken::new(lease, since, now);
        if active.expires.is_some_and(|end| end <= now) {
            // The login took longer than its token lives.
            return self.login_failed(Failure::Transient(None), now, random);
        }
        self.active = Some(active);
        self.failures = 0;
        self.renewal_failures = 0;
        self.vault_unavailable = false;
        self.suspended_until = None;
        self.login = LoginPhase::Idle;
        self.plan(schedule::after_login(lease, random), since);
    }

    /// Plans what follows a grant that was requested at `since`.
    fn plan(&mut self, next: NextAction, since: Instant) {
        self.is_fallback = false;
        self.renewal = RenewalPhase::Idle;
        match next {
            NextAction::Renew(wait) => self.renewal = RenewalPhase::Scheduled(since + wait),
            NextAction::Login(wait) => self.log_in_at(since + wait),
            NextAction::None => {}
        }
    }

    fn login_failed(&mut self, failure: Failure, now: Instant, random: f64) {
        self.vault_unavailable = failure == Failure::Unreachable;
        if !self.vault_unavailable {
            self.failures = self.failures.saturating_add(1);
        }
        let wait = match failure {
            Failure::Unreachable => schedule::health_delay(random),
            Failure::Transient(retry_after) => {
                let wait = schedule::retry_delay(self.failures, retry_after, random);
                match self.active {
                    Some(active) => schedule::at_most_half(wait, active.remaining(now)),
                    None => wait,
                }
            }
            Failure::Rejected => schedule::retry_delay(self.failures, None, random),
            Failure::RejectedAndCounted => {
                let pause = schedule::lockout_pause(random);
                self.suspended_until = Some(now + pause);
                pause
            }
        };
        self.log_in_at(now + wait);
    }

    /// Logs in for another token; the sooner the last ones died, the later, as each of them would
    /// otherwise cause a login at once.
    fn token_invalid(&mut self, now: Instant, random: f64) {
        if let Some(active) = self.active.take() {
            let age = now.duration_since(active.obtained);
            self.short_lived = schedule::consecutive_short_lived(self.short_lived, age);
        }
        self.renewal = RenewalPhase::Idle;
        self.is_fallback = false;
        self.log_in_by(now + schedule::short_lived_delay(self.short_lived, random));
    }

    /// Logs in for another token, at growing intervals: each login may cost a use of its
    /// credentials.
    fn permission_denied(&mut self, now: Instant) {
        let Some(active) = self.active.filter(|_| self.is_healthy(now)) else {
            return;
        };
        let age = now.duration_since(active.obtained);
        if age < schedule::denial_interval(self.denials) {
            return;
        }
        self.denials = schedule::consecutive_denials(self.denials, age);
        self.log_in_now(now);
    }

    /// Whether there is a session, and no login is in progress or overdue for it.
    fn is_healthy(&self, now: Instant) -> bool {
        let in_progress = matches!(self.login, LoginPhase::InProgress { .. });
        self.active.is_some()
            && !in_progress
            && self.failures == 0
            && !self.vault_unavailable
            && !self.is_suspended(now)
    }

    fn is_suspended(&self, now: Instant) -> bool {
        self.suspended_until.is_some_and(|until| until > now)
    }

    /// Drops a token that has expired, and its renewal.
    fn drop_expired(&mut self, now: Instant) {
        let expires = self.active.and_then(|active| active.expires);
        if expires.is_none_or(|at| at > now) {
            return;
        }
        self.active = None;
        self.renewal = RenewalPhase::Idle;
        self.is_fallback = false;
        if self.login == LoginPhase::Idle {
            self.log_in_at(now);
        }
    }

    /// Begins a login, unless one is in progress.
    fn log_in_now(&mut self, now: Instant) {
        self.is_obsolete = false;
        if !matches!(self.login, LoginPhase::InProgress { .. }) {
            self.log_in_at(now);
        }
    }

    /// Begins a login at this time or earlier.
    fn log_in_by(&mut self, time: Instant) {
        self.is_fallback = false;
        match self.login {
            LoginPhase::Idle => self.log_in_at(time),
            LoginPhase::Scheduled { at, step } => self.schedule_login(at.min(time), step),
            LoginPhase::InProgress { .. } => {}
        }
    }

    /// Begins a login at this time.
    fn log_in_at(&mut self, time: Instant) {
        self.schedule_login(time, Step::CheckHealth);
    }

    /// Schedules a step of a login, but none while logins are suspended.
    fn schedule_login(&mut self, at: Instant, step: Step) {
        let at = self.suspended_until.map_or(at, |until| until.max(at));
        self.login = LoginPhase::Scheduled { at, step };
    }

    /// Brings the next health check of an unavailable Vault forward.
    fn expedite(&mut self) {
        let applies = self.vault_unavailable && self.active.is_none();
        if let LoginPhase::Scheduled { at, step } = self.login
            && let Some(last) = self.last_health_check
            && applies
            && step == Step::CheckHealth
        {
            self.schedule_login(at.min(last + MIN_HEALTH_INTERVAL), step);
        }
    }
}

#[cfg(test)]
mod tests;
