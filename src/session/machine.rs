//! The session's state machine: one pure function from an event to the next step.
//!
//! It holds no token and does no I/O. The actor carries out the steps that it returns and reports
//! their outcomes as events; `examples/fleet.rs` runs ten thousand machines against a simulated
//! Vault.

use std::time::Duration;

use tokio::time::Instant;

use super::active_token::ActiveToken;
use super::schedule::{self, NextAction};
use crate::vault::Lease;

/// Waiting calls bring the next health check forward, but not closer to the last one than this.
const MIN_HEALTH_INTERVAL: Duration = Duration::from_millis(250);

/// What the session is doing, and the token that it has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    phase: Phase,
    active: Option<ActiveToken>,
    /// Steps that failed since a token was last granted or renewed.
    failures: u32,
    /// Whether the last health check found that Vault cannot serve logins.
    vault_unavailable: bool,
    /// Whether logins are suspended because Vault counts rejected credentials.
    suspended: bool,
    last_health_check: Option<Instant>,
    /// Consecutive logins that followed a denial.
    denials: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// No step is in progress; `step` begins at that time, or never by itself.
    Scheduled { at: Option<Instant>, step: Step },
    /// This step is in progress.
    InProgress(Step),
}

/// What takes time and can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask whether Vault can serve logins. Every login begins with it.
    CheckHealth,
    /// Log in.
    Login,
    /// Renew the token.
    Renew,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// The time that [`Machine::wake`] returned has come.
    TimerFired,
    /// Vault can serve logins.
    VaultReady,
    /// It cannot: it is unreachable, sealed, or without a leader.
    VaultUnavailable,
    /// A login succeeded.
    Granted(Lease),
    /// A login failed.
    Failed(Failure),
    /// A renewal succeeded; `None` is Vault's 204, which renewed nothing.
    Renewed(Option<Lease>),
    /// A renewal failed; the token may still be valid.
    NotRenewed(Failure),
    /// Vault rejected the token as invalid or expired.
    TokenInvalid,
    /// The token is valid but is denied what it is needed for: by now a role or a file may bring a
    /// token that is not.
    PermissionDenied,
    /// A wrapping token was delivered. It expires soon, so the login should not wait for the end of
    /// the session.
    NewWrappingToken,
    /// An operator or a changed file asks to retry what was rejected.
    RetryNow,
    /// A call waits for a session.
    SessionRequested,
}

/// How a step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Vault could not be reached.
    Unreachable,
    /// It can be retried; Vault may have said when.
    Transient(Option<Duration>),
    /// Rejected. For a login by a method without lockout Vault itself may be the cause.
    Rejected,
    /// Rejected where Vault counts rejections, or where each login attempt costs something.
    RejectedAndCounted,
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
        let suspended = suspended_until.is_some_and(|until| until > now);
        let phase = match session {
            _ if suspended => Phase::Scheduled {
                at: suspended_until,
                step: Step::CheckHealth,
            },
            Some(active) => {
                let next = schedule::after_login(active.remaining(now), random);
                Phase::planned(next, now)
            }
            None => Phase::login_at(now),
        };
        Self {
            phase,
            active: session,
            failures: 0,
            vault_unavailable: false,
            suspended,
            last_health_check: None,
            denials: 0,
        }
    }

    /// The machine after an event, and the step that begins now. `random` is between 0 and 1.
    #[must_use]
    pub fn after(mut self, event: Event, now: Instant, random: f64) -> (Self, Option<Step>) {
        self.phase = self.respond(event, now, random);
        self.drop_expired(now);
        let Phase::Scheduled { at, step } = self.phase else {
            return (self, None);
        };
        if at.is_none_or(|at| at > now) {
            return (self, None);
        }
        self.phase = Phase::InProgress(step);
        self.suspended = false;
        if step == Step::CheckHealth {
            self.last_health_check = Some(now);
        }
        (self, Some(step))
    }

    /// When [`Event::TimerFired`] is due, unless another event comes first.
    #[must_use]
    pub fn wake(&self) -> Option<Instant> {
        let planned = match self.phase {
            Phase::Scheduled { at, .. } => at,
            Phase::InProgress(_) => None,
        };
        let expiry = self.active.and_then(|active| active.expires);
        planned.into_iter().chain(expiry).min()
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
        match self.phase {
            Phase::Scheduled { at, .. } if self.suspended => at,
            _ => None,
        }
    }

    fn respond(&mut self, event: Event, now: Instant, random: f64) -> Phase {
        // A late outcome, such as of the renewal of a token that was found invalid meanwhile.
        if event
            .ends()
            .is_some_and(|step| self.phase != Phase::InProgress(step))
        {
            return self.phase;
        }
        match event {
            Event::TimerFired => self.phase,
            Event::SessionRequested => self.expedited(),
            Event::VaultReady => {
                let wait = schedule::login_delay(random, self.vault_unavailable);
                self.vault_unavailable = false;
                Phase::after(wait, Step::Login, now)
            }
            Event::VaultUnavailable => self.failed(Failure::Unreachable, now, random),
            Event::Granted(lease) => {
                self.active = Some(ActiveToken::new(lease, now));
                self.failures = 0;
                self.vault_unavailable = false;
                self.suspended = false;
                Phase::planned(schedule::after_login(lease, random), now)
            }
            Event::Renewed(lease) => self.renewed(lease, now, random),
            Event::Failed(failure) => self.failed(failure, now, random),
            // A token that cannot be renewed can still be replaced.
            Event::NotRenewed(Failure::Rejected | Failure::RejectedAndCounted) => {
                self.login_now(now)
            }
            Event::NotRenewed(failure) => self.failed(failure, now, random),
            Event::TokenInvalid => {
                self.active = None;
                if self.suspended {
                    self.phase
                } else {
                    self.login_now(now)
                }
            }
            Event::PermissionDenied => self.permission_denied(now),
            Event::NewWrappingToken if self.is_idle_and_healthy() => self.run_now(now),
            Event::NewWrappingToken => self.phase,
            Event::RetryNow => {
                let is_stuck = self.suspended || self.failures > 0 || self.active.is_none();
                self.suspended = false;
                if is_stuck {
                    self.run_now(now)
                } else {
                    self.phase
                }
            }
        }
    }

    fn renewed(&mut self, lease: Option<Lease>, now: Instant, random: f64) -> Phase {
        let (Some(active), Some(lease)) = (self.active, lease) else {
            return self.login_now(now);
        };
        self.failures = 0;
        self.active = Some(active.renewed(lease, now));
        let next = schedule::after_renewal(active.granted, lease, random);
        Phase::planned(next, now)
    }

    fn failed(&mut self, failure: Failure, now: Instant, random: f64) -> Phase {
        self.failures = self.failures.saturating_add(1);
        self.vault_unavailable = failure == Failure::Unreachable;
        let wait = match failure {
            Failure::Unreachable => schedule::health_delay(random),
            Failure::Transient(retry_after) => {
                schedule::retry_delay(self.failures, retry_after, random)
            }
            Failure::Rejected => schedule::retry_delay(self.failures, None, random),
            Failure::RejectedAndCounted => {
                self.suspended = true;
                schedule::lockout_pause(random)
            }
        };
        Phase::after(wait, Step::CheckHealth, now)
    }

    /// Logs in for another token, at growing intervals: each login may cost a use of its
    /// credentials.
    fn permission_denied(&mut self, now: Instant) -> Phase {
        let Some(active) = self.active.filter(|_| self.is_idle_and_healthy()) else {
            return self.phase;
        };
        let age = now.duration_since(active.obtained);
        if age < schedule::denial_interval(self.denials) {
            return self.phase;
        }
        self.denials = schedule::consecutive_denials(self.denials, age);
        self.run_now(now)
    }

    /// Whether there is a session, and no step is in progress or overdue for it.
    fn is_idle_and_healthy(&self) -> bool {
        let is_idle = matches!(self.phase, Phase::Scheduled { .. });
        is_idle && self.active.is_some() && self.failures == 0 && !self.suspended
    }

    /// Drops a token that has expired, and its planned renewal.
    fn drop_expired(&mut self, now: Instant) {
        let expires = self.active.and_then(|active| active.expires);
        if expires.is_none_or(|at| at > now) {
            return;
        }
        self.active = None;
        if let Phase::Scheduled { step, .. } = self.phase
            && step == Step::Renew
        {
            self.phase = Phase::login_at(now);
        }
    }

    /// Begins a login, unless one is in progress.
    fn login_now(&self, now: Instant) -> Phase {
        match self.phase {
            Phase::InProgress(Step::CheckHealth | Step::Login) => self.phase,
            _ => Phase::login_at(now),
        }
    }

    /// Begins a login, unless any step is in progress.
    fn run_now(&self, now: Instant) -> Phase {
        match self.phase {
            Phase::Scheduled { .. } => Phase::login_at(now),
            Phase::InProgress(_) => self.phase,
        }
    }

    /// Brings the next health check of an unavailable Vault forward.
    fn expedited(&self) -> Phase {
        let Phase::Scheduled { at, step } = self.phase else {
            return self.phase;
        };
        let applies = self.vault_unavailable && step == Step::CheckHealth && self.active.is_none();
        let soonest = self
            .last_health_check
            .filter(|_| applies)
            .map(|last| last + MIN_HEALTH_INTERVAL);
        Phase::Scheduled {
            at: at.into_iter().chain(soonest).min(),
            step,
        }
    }
}

impl Event {
    /// The step whose outcome it is.
    fn ends(self) -> Option<Step> {
        match self {
            Self::TimerFired
            | Self::SessionRequested
            | Self::PermissionDenied
            | Self::NewWrappingToken
            | Self::RetryNow
            | Self::TokenInvalid => None,
            Self::VaultReady | Self::VaultUnavailable => Some(Step::CheckHealth),
            Self::Granted(_) | Self::Failed(_) => Some(Step::Login),
            Self::Renewed(_) | Self::NotRenewed(_) => Some(Step::Renew),
        }
    }
}

impl Phase {
    /// A login that begins at this time.
    fn login_at(time: Instant) -> Self {
        Self::after(Duration::ZERO, Step::CheckHealth, time)
    }

    fn after(wait: Duration, step: Step, now: Instant) -> Self {
        let at = Some(now + wait);
        Self::Scheduled { at, step }
    }

    fn planned(next: NextAction, now: Instant) -> Self {
        match next {
            NextAction::Renew(wait) => Self::after(wait, Step::Renew, now),
            NextAction::Login(wait) => Self::after(wait, Step::CheckHealth, now),
            NextAction::None => Self::Scheduled {
                at: None,
                step: Step::CheckHealth,
            },
        }
    }
}

#[cfg(test)]
mod tests;
