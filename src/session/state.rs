//! The actor's state: carries out the steps of the machine, and publishes their results.

mod lockout_guard;
mod login_task;
mod pending_checks;
mod publication;
mod replaced_tokens;
mod revocation;
mod token_check;
mod wrapping_token_watch;

use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::credentials;
use super::login::{self, Settings};
use super::machine::{Event, Failure, Machine, Step};
use super::message::{HealthOutcome, LoginOutcome, RenewOutcome, SessionMsg};
use super::schedule::{HEALTH_TIMEOUT, LOGIN_TIMEOUT};
use super::view::{Session, SessionView};
use crate::actor::{Timer, reap};
use crate::system::one_line;
use crate::telemetry::FailureStreak;
use crate::telemetry::events;
use crate::vault::{CallError, Client};
use login_task::LoginTask;
use pending_checks::PendingChecks;
use replaced_tokens::ReplacedTokens;

/// A renewal's deadline leaves time for a login, but is at least this.
const MIN_RENEWAL_TIMEOUT: Duration = Duration::from_millis(500);

/// What the actor needs; the same at every restart.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// The server.
    pub client: Arc<Client>,
    /// How to log in.
    pub settings: Arc<Settings>,
    /// Where the session is published.
    pub view: Arc<watch::Sender<SessionView>>,
    /// Whether calls use it, or it belongs to the candidate of a reload.
    pub serving: watch::Receiver<bool>,
}

/// The actor's state.
#[derive(Debug)]
pub struct State {
    args: Arguments,
    machine: Machine,
    timer: Timer,
    /// Waits for a change of credentials that Vault rejected.
    watcher: Option<AbortHandle>,
    checks: PendingChecks,
    login: LoginTask,
    /// Failed logins and health checks in a row.
    failed: FailureStreak,
    replaced: ReplacedTokens,
    tasks: JoinSet<()>,
}

impl State {
    /// The state of an actor that starts. Begins the first step.
    pub(super) fn new(args: Arguments, myself: &ActorRef<SessionMsg>) -> Self {
        let view = args.view.borrow().clone();
        // A published session survives a restart of the actor.
        let session = view.current.map(|session| session.active_token());
        let now = Instant::now();
        let mut state = Self {
            machine: Machine::start(session, view.suspended_until, now, fastrand::f64()),
            args,
            timer: Timer::default(),
            watcher: None,
            checks: PendingChecks::default(),
            login: LoginTask::default(),
            failed: FailureStreak::default(),
            replaced: ReplacedTokens::default(),
            tasks: JoinSet::new(),
        };
        if state.machine.suspended_until().is_some() {
            state.watch(myself, None);
        }
        state.watch_wrapping_token(myself);
        state.handle(myself, Event::TimerFired);
        state
    }

    pub(super) fn reap(&mut self) -> Result<(), ActorProcessingErr> {
        reap(&mut self.tasks)
    }

    fn current(&self) -> Option<Arc<Session>> {
        self.args.view.borrow().current.clone()
    }

    /// Gives the machine an event, publishes the lease that it holds then, and begins the steps that
    /// it orders.
    pub(super) fn handle(&mut self, myself: &ActorRef<SessionMsg>, event: Event) {
        if matches!(event, Event::TimerFired) {
            self.timer.fired();
        }
        let steps = self.advance(event);
        self.publish_lease();
        self.begin(myself, steps);
    }

    fn advance(&mut self, event: Event) -> Vec<Step> {
        let (machine, steps) = self.machine.after(event, Instant::now(), fastrand::f64());
        self.machine = machine;
        steps
    }

    fn begin(&mut self, myself: &ActorRef<SessionMsg>, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::CheckHealth => self.start_health_check(myself),
                Step::Login => self.start_login(myself),
                Step::Renew => self.start_renewal(myself),
            }
        }
        self.set_timer(myself);
    }

    fn set_timer(&mut self, myself: &ActorRef<SessionMsg>) {
        let due = self.machine.wake();
        let suspended_until = self.machine.suspended_until();
        // Nobody waits for these fields, so nobody is woken.
        self.args.view.send_if_modified(|view| {
            view.next_step = due;
            view.suspended_until = suspended_until;
            false
        });
        self.timer.set(due, Instant::now(), |wait| {
            let event = || SessionMsg::Happened(Event::TimerFired);
            myself.send_after(wait, event).abort_handle()
        });
    }

    fn start_health_check(&mut self, myself: &ActorRef<SessionMsg>) {
        self.stop_watching();
        let myself = myself.clone();
        let client = self.args.client.clone();
        self.tasks.spawn(async move {
            let outcome = login::check_health(&client, Instant::now() + HEALTH_TIMEOUT).await;
            // Fails only if the actor has stopped.
            let _ = myself.cast(SessionMsg::HealthChecked(HealthOutcome(outcome)));
        });
    }

    pub(super) fn health_checked(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        HealthOutcome(outcome): HealthOutcome,
    ) {
        let event = match outcome {
            Ok(()) => Event::VaultReady,
            Err(error) => {
                self.publish_fault(&error);
                Event::VaultUnavailable
            }
        };
        self.handle(myself, event);
    }

    fn start_login(&mut self, myself: &ActorRef<SessionMsg>) {
        let client = self.args.client.clone();
        let settings = self.args.settings.clone();
        let login = async move {
            let credentials = credentials::state(&settings.method.credentials()).await;
            let granted = login::login(&client, &settings, Instant::now() + LOGIN_TIMEOUT).await;
            LoginOutcome {
                granted,
                credentials,
            }
        };
        let args = self.args.clone();
        let unclaimed = async move |outcome: LoginOutcome| args.revoke_unclaimed(outcome).await;
        self.login.begin(myself, login, unclaimed);
    }

    pub(super) async fn login_ended(
        &mut self,
        myself: &ActorRef<SessionMsg>,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(outcome) = self.login.outcome().await? {
            self.logged_in(myself, outcome);
        }
        Ok(())
    }

    fn logged_in(&mut self, myself: &ActorRef<SessionMsg>, outcome: LoginOutcome) {
        match outcome.granted {
            Ok(grant) => {
                for warning in &grant.warnings {
                    let warning = one_line(warning);
                    events::LoginWarning { warning }.emit();
                }
                let before = self.machine.active_token();
                let steps = self.advance(Event::Granted(grant.lease));
                if self.machine.active_token() == before {
                    // The machine did not accept it.
                    self.publish_lease();
                    self.revoke_later(Arc::new(grant.token), grant.lease);
                } else {
                    self.publish_session(grant.token);
                }
                self.begin(myself, steps);
            }
            Err(error) => {
                self.publish_fault(&error);
                let locks_out = self.args.settings.method.locks_out();
                let failure = error.failure(locks_out);
                self.handle(myself, Event::Failed(failure));
                if failure == Failure::RejectedAndCounted {
                    self.suspend_logins(myself, outcome.credentials);
                }
            }
        }
    }

    fn start_renewal(&mut self, myself: &ActorRef<SessionMsg>) {
        let Some(session) = self.current() else {
            return;
        };
        let client = self.args.client.clone();
        let settings = self.args.settings.clone();
        let myself = myself.clone();
        let now = Instant::now();
        let remaining = session.active_token().remaining(now);
        let timeout = remaining.ttl.map_or(LOGIN_TIMEOUT, |ttl| ttl / 2);
        let deadline = now + timeout.clamp(MIN_RENEWAL_TIMEOUT, LOGIN_TIMEOUT);
        self.tasks.spawn(async move {
            let renewed = client
                .renew_self(&settings.namespace, &session.token, deadline)
                .await;
            let _ = myself.cast(SessionMsg::Renewed(RenewOutcome {
                generation: session.generation,
                renewed,
            }));
        });
    }

    pub(super) fn renewed(&mut self, myself: &ActorRef<SessionMsg>, outcome: RenewOutcome) {
        // A token that was replaced since may have a renewal of its own in progress, for which this
        // outcome must not be taken.
        if self
            .current()
            .is_some_and(|it| it.generation != outcome.generation)
        {
            return;
        }
        match outcome.renewed {
            Ok(renewed) => {
                self.handle(myself, Event::Renewed(renewed));
                self.withdraw_fault();
            }
            Err(error) => {
                events::RenewalFailed {
                    reason_code: error.reason().code(),
                    error: error.to_string(),
                }
                .emit();
                let failure = match &error {
                    CallError::Unreachable { .. } => Failure::Unreachable,
                    error if error.is_transient() => Failure::Transient(error.retry_after()),
                    _ => Failure::Rejected,
                };
                self.handle(myself, Event::NotRenewed(failure));
            }
        }
    }
}

impl Arguments {
    /// Whether it belongs to the candidate of a reload.
    fn is_candidate(&self) -> bool {
        !*self.serving.borrow()
    }
}
