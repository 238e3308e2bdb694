//! The actor's state: carries out the steps of the machine, and publishes their results.

mod lockout_guard;
mod pending_checks;
mod replaced_tokens;
mod token_check;
mod wrapping_token_watch;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ractor::{ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::debug;

use super::credentials;
use super::login::{self, LoginError, Settings};
use super::machine::{Event, Failure, Machine, Step};
use super::message::{HealthOutcome, LoginOutcome, RenewOutcome, SessionMsg};
use super::schedule::{self, HEALTH_TIMEOUT, LOGIN_TIMEOUT};
use super::view::{LoginFault, Session, SessionView};
use crate::actor::{Timer, reap};
use crate::system::one_line;
use crate::telemetry::FailureStreak;
use crate::telemetry::events;
use crate::vault::{CallError, Client, Lease, Token};
use pending_checks::PendingChecks;
use replaced_tokens::ReplacedTokens;

/// A renewal's deadline leaves time for a login, but is at least this.
const MIN_RENEWAL_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the end of the process waits for its token to be revoked.
const FINAL_REVOKE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the actor needs; the same at every restart.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// The server.
    pub client: Arc<Client>,
    /// How to log in.
    pub settings: Arc<Settings>,
    /// Where the session is published.
    pub view: Arc<watch::Sender<SessionView>>,
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
        let myself = myself.clone();
        self.tasks.spawn(async move {
            let credentials = credentials::state(&settings.method.credentials()).await;
            let granted = login::login(&client, &settings, Instant::now() + LOGIN_TIMEOUT).await;
            let _ = myself.cast(SessionMsg::LoggedIn(LoginOutcome {
                granted,
                credentials,
            }));
        });
    }

    pub(super) fn logged_in(&mut self, myself: &ActorRef<SessionMsg>, outcome: LoginOutcome) {
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

    /// Once a renewal has made a login unnecessary, its failures are over.
    fn withdraw_fault(&mut self) {
        if !self.machine.needs_login() && self.args.view.borrow().fault.is_some() {
            self.failed = FailureStreak::default();
            self.args.view.send_modify(|view| view.fault = None);
        }
    }

    /// Publishes why a login is not possible; logs it if the reason is a new one.
    fn publish_fault(&mut self, error: &LoginError) {
        self.failed.failed(Instant::now());
        let metric = error.class().metric();
        self.args.client.metrics().login_failed(metric);
        let fault = LoginFault {
            cause: error.cause().to_owned(),
            remedy: error.remedy().map(str::to_owned),
            rejected: error.class().needs_operator(),
        };
        let is_known = self.args.view.borrow().fault.as_ref() == Some(&fault);
        if !is_known {
            events::LoginFailed {
                error: error.to_string(),
            }
            .emit();
            self.args.view.send_modify(|view| view.fault = Some(fault));
        }
    }

    /// Publishes the session of a login that the machine has accepted.
    fn publish_session(&mut self, token: Token) {
        let Some(active) = self.machine.active_token() else {
            return;
        };
        let generation = self.args.view.borrow().logins + 1;
        self.revoke_replaced();
        let streak = self.failed.end(active.obtained);
        events::LoggedIn {
            generation,
            ttl_seconds: active.lease.ttl.map(|ttl| ttl.as_secs()),
            renewable: active.lease.renewable,
            failed: streak.map(|it| it.failed),
            lasted: streak.map(|it| it.lasted()),
        }
        .emit();
        let session = Arc::new(Session::new(token, generation, active));
        self.args.view.send_modify(|view| {
            view.current = Some(session);
            view.fault = None;
            view.suspended_until = None;
            view.logins = generation;
        });
    }

    /// Publishes the lease that the machine holds, if it differs from the published one.
    fn publish_lease(&self) {
        let active = self.machine.active_token();
        self.args.view.send_if_modified(|view| {
            let Some(session) = &view.current else {
                return false;
            };
            view.current = match active {
                Some(it) if (it.lease, it.expires) == (session.lease, session.expires) => {
                    return false;
                }
                Some(it) => Some(Arc::new(session.with_lease(it))),
                None => None,
            };
            true
        });
    }

    /// Revokes the current token, which is about to be replaced, once the calls that use it have
    /// ended.
    fn revoke_replaced(&mut self) {
        if let Some(session) = self.current() {
            let remaining = session.active_token().remaining(Instant::now());
            self.revoke_later(session.token.clone(), remaining);
        }
    }

    /// Revokes a token of our own after a while, unless it is in use then: a caching Vault Agent
    /// gives the same one again.
    fn revoke_later(&mut self, token: Arc<Token>, remaining: Lease) {
        if !self.args.settings.method.owns_token() {
            return;
        }
        self.replaced.add(token.clone());
        let replaced = self.replaced.clone();
        let args = self.args.clone();
        let wait = schedule::revoke_delay(remaining);
        self.tasks.spawn(async move {
            tokio::time::sleep(wait).await;
            replaced.remove(&token);
            if !args.uses(&token) {
                revoke(&args.client, &args.settings, &token, LOGIN_TIMEOUT).await;
            }
        });
    }

    /// Revokes the current token, and those that were replaced a moment ago, at the end of the
    /// process, as far as they are our own.
    pub(super) async fn revoke_all(&mut self) {
        if !self.args.settings.method.owns_token() {
            return;
        }
        let mut tokens = self.replaced.take();
        if let Some(session) = self.current() {
            tokens.retain(|token| !token.is_same(&session.token));
            tokens.push(session.token.clone());
        }
        if let Some(used) = &self.args.view.borrow().used_elsewhere {
            tokens.retain(|token| !token.is_same(used));
        }
        let (client, settings) = (&self.args.client, &self.args.settings);
        let revoked = tokens
            .iter()
            .map(|token| revoke(client, settings, token, FINAL_REVOKE_TIMEOUT));
        join_all(revoked).await;
    }
}

impl Arguments {
    /// Whether this is the token of the published session.
    fn uses(&self, token: &Token) -> bool {
        let view = self.view.borrow();
        let current = view.current.as_ref().map(|session| &session.token);
        let in_use = current.into_iter().chain(&view.used_elsewhere);
        in_use.into_iter().any(|one| one.is_same(token))
    }
}

async fn revoke(client: &Client, settings: &Settings, token: &Token, timeout: Duration) {
    let deadline = Instant::now() + timeout;
    let revoked = client
        .revoke_self(&settings.namespace, token, deadline)
        .await;
    if let Err(error) = revoked {
        // It ends with its lease.
        debug!(%error, "a token that is no longer needed was not revoked");
    }
}
