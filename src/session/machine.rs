//! The session's state machine: what is to be done after what happened, as one pure function.
//!
//! It holds no token and does no I/O. The actor carries out the steps it orders and tells it how
//! they ended; `examples/fleet.rs` runs ten thousand of it against a server that is made up.

use std::time::Duration;

use tokio::time::Instant;

use super::plan::{self, Next};
use crate::vault::Lease;

/// Calls that wait make Vault's health be asked for before its time, but not more often than this.
const ASK_SPACING: Duration = Duration::from_millis(250);

/// What the session is doing, and what it has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    phase: Phase,
    held: Option<Held>,
    /// Steps that failed since the last that brought or prolonged a token.
    failures: u32,
    /// Whether Vault could not be logged into when it was asked last.
    away: bool,
    /// Whether credentials that Vault refused are left alone until something changes.
    quiet: bool,
    /// When its health was asked for last.
    asked: Option<Instant>,
    /// Logins in a row that followed a denial.
    denied: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Nothing is under way; `then` begins at that time, or never by itself.
    Waiting { until: Option<Instant>, then: Step },
    /// This step is under way.
    Under(Step),
}

/// The token that is in use.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Held {
    /// The lease's length when it was granted; renewals shrink from there.
    granted: Option<Duration>,
    ends: Option<Instant>,
    since: Instant,
}

/// What takes time and can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask whether Vault can be logged into. Every login begins with it.
    Reach,
    /// Log in.
    Login,
    /// Prolong the token.
    Renew,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// The moment has come that [`Machine::wake`] told.
    Due,
    /// Vault can be logged into.
    Reached,
    /// It cannot: unreachable, sealed, without a leader.
    Away,
    /// A login brought a token.
    Granted(Lease),
    /// A login failed.
    Failed(Failure),
    /// A renewal ended well; `None` is Vault's 204, which prolonged nothing.
    Renewed(Option<Lease>),
    /// A renewal failed; the token may live on.
    NotRenewed(Failure),
    /// Vault no longer knows the token.
    Died,
    /// It lives, but is denied what it is for: a role or a file may by now give one that is not.
    Denied,
    /// A credential came that does not live long: a login should not wait for the session's end.
    News,
    /// An operator or a changed file asks to try again what was refused.
    TryAgain,
    /// A call waits for a session.
    Wanted,
}

/// How a step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Vault could not be reached.
    Away,
    /// It may be repeated; Vault may have said when.
    Transient(Option<Duration>),
    /// Refused. For a login by a method without lockout that may be Vault's own trouble.
    Refused,
    /// Refused where Vault counts, or where each try spends something.
    Counted,
}

impl Machine {
    /// What goes on with a session that an actor before this one had, or begins without one.
    /// `suspended_until`: so long refused credentials are left alone.
    #[must_use]
    pub fn start(
        session: Option<Lease>,
        suspended_until: Option<Instant>,
        now: Instant,
        random: f64,
    ) -> Self {
        let mut machine = Self {
            phase: Phase::at(now),
            held: session.map(|lease| Held::new(lease, now)),
            failures: 0,
            away: false,
            quiet: suspended_until.is_some_and(|until| until > now),
            asked: None,
            denied: 0,
        };
        if machine.quiet {
            machine.phase = Phase::Waiting {
                until: suspended_until,
                then: Step::Reach,
            };
        } else if let Some(lease) = session {
            machine.phase = Phase::planned(plan::after_login(lease, random), now);
        }
        machine
    }

    /// What follows from an event, and the step that begins now. `random` is between 0 and 1.
    #[must_use]
    pub fn after(mut self, event: Event, now: Instant, random: f64) -> (Self, Option<Step>) {
        self.phase = self.respond(event, now, random);
        self.retire(now);
        let Phase::Waiting { until, then } = self.phase else {
            return (self, None);
        };
        if until.is_none_or(|until| until > now) {
            return (self, None);
        }
        self.phase = Phase::Under(then);
        self.quiet = false;
        if then == Step::Reach {
            self.asked = Some(now);
        }
        (self, Some(then))
    }

    /// When [`Event::Due`] is to be told, if nothing else happens before.
    #[must_use]
    pub fn wake(&self) -> Option<Instant> {
        let planned = match self.phase {
            Phase::Waiting { until, .. } => until,
            Phase::Under(_) => None,
        };
        let end = self.held.and_then(|held| held.ends);
        planned.into_iter().chain(end).min()
    }

    /// Whether there is a token to work with.
    #[must_use]
    pub fn has_session(&self) -> bool {
        self.held.is_some()
    }

    /// Until when refused credentials are left alone.
    #[must_use]
    pub fn suspended_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { until, .. } if self.quiet => until,
            _ => None,
        }
    }

    fn respond(&mut self, event: Event, now: Instant, random: f64) -> Phase {
        let ended = event.ends();
        // Such as a renewal of a token that was found dead meanwhile.
        if ended.is_some_and(|step| self.phase != Phase::Under(step)) {
            return self.phase;
        }
        match event {
            Event::Due => self.phase,
            Event::Wanted => self.hurried(),
            Event::Reached => {
                let wait = plan::return_in(random, self.away);
                self.away = false;
                Phase::wait(wait, Step::Login, now)
            }
            Event::Away => self.failed(Failure::Away, now, random),
            Event::Granted(lease) => {
                self.held = Some(Held::new(lease, now));
                (self.failures, self.away, self.quiet) = (0, false, false);
                Phase::planned(plan::after_login(lease, random), now)
            }
            Event::Renewed(lease) => self.renewed(lease, now, random),
            Event::Failed(failure) => self.failed(failure, now, random),
            // A token that cannot be prolonged may still be followed by another.
            Event::NotRenewed(Failure::Refused | Failure::Counted) => self.at_once(now),
            Event::NotRenewed(passing) => self.failed(passing, now, random),
            Event::Died => {
                self.held = None;
                if self.quiet {
                    return self.phase;
                }
                self.at_once(now)
            }
            Event::Denied => self.denied(now),
            Event::News if self.is_content() => self.waiting_no_more(now),
            Event::News => self.phase,
            Event::TryAgain => {
                let stuck = self.quiet || self.failures > 0 || self.held.is_none();
                self.quiet = false;
                if stuck {
                    return self.waiting_no_more(now);
                }
                self.phase
            }
        }
    }

    fn renewed(&mut self, lease: Option<Lease>, now: Instant, random: f64) -> Phase {
        let (Some(held), Some(lease)) = (self.held, lease) else {
            return self.at_once(now);
        };
        self.failures = 0;
        self.held = Some(Held {
            ends: Held::new(lease, now).ends,
            ..held
        });
        Phase::planned(plan::after_renewal(held.granted, lease, random), now)
    }

    fn failed(&mut self, failure: Failure, now: Instant, random: f64) -> Phase {
        self.failures = self.failures.saturating_add(1);
        self.away = failure == Failure::Away;
        let wait = match failure {
            Failure::Away => plan::health_in(random),
            Failure::Transient(retry_after) => plan::retry_in(self.failures, retry_after, random),
            Failure::Refused => plan::retry_in(self.failures, None, random),
            Failure::Counted => {
                self.quiet = true;
                plan::refused_in(random)
            }
        };
        Phase::wait(wait, Step::Reach, now)
    }

    /// Tries another token, but less and less often: each login may spend a use of its credentials.
    fn denied(&mut self, now: Instant) -> Phase {
        let Some(held) = self.held.filter(|_| self.is_content()) else {
            return self.phase;
        };
        let age = now.duration_since(held.since);
        if age < plan::denied_in(self.denied) {
            return self.phase;
        }
        self.denied = plan::denials(self.denied, age);
        self.waiting_no_more(now)
    }

    /// Whether it has a session, and nothing to do for it now.
    fn is_content(&self) -> bool {
        let waits = matches!(self.phase, Phase::Waiting { .. });
        waits && self.held.is_some() && self.failures == 0 && !self.quiet
    }

    /// Drops a token that ended, and what was planned for it.
    fn retire(&mut self, now: Instant) {
        let ended = |held: Held| held.ends.is_some_and(|end| end <= now);
        if !self.held.is_some_and(ended) {
            return;
        }
        self.held = None;
        if let Phase::Waiting { then, .. } = self.phase
            && then == Step::Renew
        {
            self.phase = Phase::at(now);
        }
    }

    /// Logs in again.
    fn at_once(&self, now: Instant) -> Phase {
        match self.phase {
            // A login that is under way will tell.
            Phase::Under(Step::Reach | Step::Login) => self.phase,
            _ => Phase::at(now),
        }
    }

    fn waiting_no_more(&self, now: Instant) -> Phase {
        match self.phase {
            Phase::Waiting { .. } => Phase::at(now),
            Phase::Under(_) => self.phase,
        }
    }

    /// Asks an absent Vault before its time.
    fn hurried(&self) -> Phase {
        let Phase::Waiting { until, then } = self.phase else {
            return self.phase;
        };
        let asks = self.away && then == Step::Reach && self.held.is_none();
        let soon = self.asked.filter(|_| asks).map(|at| at + ASK_SPACING);
        Phase::Waiting {
            until: until.into_iter().chain(soon).min(),
            then,
        }
    }
}

impl Event {
    /// The step whose outcome it is.
    fn ends(self) -> Option<Step> {
        match self {
            Self::Due | Self::Wanted | Self::Denied | Self::News | Self::TryAgain | Self::Died => {
                None
            }
            Self::Reached | Self::Away => Some(Step::Reach),
            Self::Granted(_) | Self::Failed(_) => Some(Step::Login),
            Self::Renewed(_) | Self::NotRenewed(_) => Some(Step::Renew),
        }
    }
}

impl Phase {
    /// Begins a login at this time.
    fn at(time: Instant) -> Self {
        Self::wait(Duration::ZERO, Step::Reach, time)
    }

    fn wait(wait: Duration, then: Step, now: Instant) -> Self {
        let until = Some(now + wait);
        Self::Waiting { until, then }
    }

    fn planned(next: Next, now: Instant) -> Self {
        match next {
            Next::Renew(wait) => Self::wait(wait, Step::Renew, now),
            Next::Login(wait) => Self::wait(wait, Step::Reach, now),
            Next::Rest => Self::Waiting {
                until: None,
                then: Step::Reach,
            },
        }
    }
}

impl Held {
    fn new(lease: Lease, now: Instant) -> Self {
        Self {
            granted: lease.ttl,
            ends: lease.ttl.map(|ttl| now + ttl),
            since: now,
        }
    }
}

#[cfg(test)]
mod tests;
