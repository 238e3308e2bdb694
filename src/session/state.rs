//! The actor's state: carries out what the machine orders, and publishes what comes of it.

mod doubts;
mod news;
mod quiet;

use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::debug;

use super::credentials::{self, Fingerprint};
use super::login::{self, LoginError, Settings};
use super::machine::{Event, Failure, Machine, Step};
use super::view::{LoginFault, Session};
use super::{Arguments, SessionMsg, plan};
use crate::actor::reap;
use crate::telemetry::FailureStreak;
use crate::telemetry::events;
use crate::vault::{CallError, Client, Grant, Lease};
use doubts::Doubts;

/// How long a login or a renewal may take. Longer than a call's deadline: TokenReview is slow.
const STEP_LIMIT: Duration = Duration::from_secs(10);

/// How long Vault may take to tell its health. One that is slower cannot serve kube-apiserver's 3 s.
const REACH_LIMIT: Duration = Duration::from_secs(2);

/// A renewal gives up while there is time for a login, but not before this.
const RENEW_LEAST: Duration = Duration::from_millis(500);

/// How long the end of the process waits for its token's.
const REVOKE_LIMIT: Duration = Duration::from_secs(1);

/// What the actor keeps.
#[derive(Debug)]
pub struct State {
    args: Arguments,
    machine: Machine,
    timer: Option<AbortHandle>,
    /// Waits for a change of credentials that Vault refused.
    watcher: Option<AbortHandle>,
    doubts: Doubts,
    /// Logins that failed, and looks at Vault's health.
    failed: FailureStreak,
    tasks: JoinSet<()>,
}

/// How a look at Vault's health ended.
#[derive(Debug)]
pub struct ReachOutcome(Result<(), LoginError>);

/// How a login ended.
#[derive(Debug)]
pub struct LoginOutcome {
    granted: Result<Grant, LoginError>,
    /// What the credentials were when it began.
    credentials: Fingerprint,
}

/// How a renewal ended.
#[derive(Debug)]
pub struct RenewOutcome(Result<Option<Lease>, CallError>);

impl State {
    /// The state of an actor that starts, and its first step.
    pub(super) fn new(args: Arguments, myself: &ActorRef<SessionMsg>) -> Self {
        // After a restart the session that was published lives on.
        let now = Instant::now();
        let view = args.view.borrow().clone();
        let session = view.current.map(|session| session.remaining(now));
        let mut state = Self {
            machine: Machine::start(session, view.suspended_until, now, fastrand::f64()),
            args,
            timer: None,
            watcher: None,
            doubts: Doubts::default(),
            failed: FailureStreak::default(),
            tasks: JoinSet::new(),
        };
        if state.machine.suspended_until().is_some() {
            state.watch(myself, None);
        }
        state.watch_for_news(myself);
        state.note(myself, Event::Due);
        state
    }

    pub(super) fn reap(&mut self) -> Result<(), ActorProcessingErr> {
        reap(&mut self.tasks)
    }

    fn current(&self) -> Option<Arc<Session>> {
        self.args.view.borrow().current.clone()
    }

    /// Tells the machine what happened, and does what it says.
    pub(super) fn note(&mut self, myself: &ActorRef<SessionMsg>, event: Event) {
        let (machine, step) = self.machine.after(event, Instant::now(), fastrand::f64());
        self.machine = machine;
        if !machine.has_session() && self.current().is_some() {
            self.args.view.send_modify(|view| view.current = None);
        }
        match step {
            Some(Step::Reach) => self.start_reach(myself),
            Some(Step::Login) => self.start_login(myself),
            Some(Step::Renew) => self.start_renewal(myself),
            None => {}
        }
        self.set_timer(myself);
    }

    fn set_timer(&mut self, myself: &ActorRef<SessionMsg>) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
        let due = self.machine.wake();
        // Readers of the view need not be woken for that.
        self.args.view.send_if_modified(|view| {
            view.next_step = due;
            false
        });
        if let Some(due) = due {
            let wait = due.saturating_duration_since(Instant::now());
            let timer = myself.send_after(wait, || SessionMsg::Happened(Event::Due));
            self.timer = Some(timer.abort_handle());
        }
    }

    fn start_reach(&mut self, myself: &ActorRef<SessionMsg>) {
        self.watch_no_more();
        let (myself, client) = (myself.clone(), self.args.client.clone());
        self.tasks.spawn(async move {
            let reached = login::reach(&client, Instant::now() + REACH_LIMIT).await;
            // The actor may have stopped meanwhile; then nobody wants the outcome.
            let _ = myself.cast(SessionMsg::Reached(ReachOutcome(reached)));
        });
    }

    pub(super) fn reached(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        ReachOutcome(outcome): ReachOutcome,
    ) {
        let event = match outcome {
            Ok(()) => Event::Reached,
            Err(error) => {
                self.publish_fault(&error);
                Event::Away
            }
        };
        self.note(myself, event);
    }

    fn start_login(&mut self, myself: &ActorRef<SessionMsg>) {
        let (client, settings) = (self.args.client.clone(), self.args.settings.clone());
        let myself = myself.clone();
        self.tasks.spawn(async move {
            let credentials = credentials::fingerprint(&settings.method.credentials()).await;
            let granted = login::login(&client, &settings, Instant::now() + STEP_LIMIT).await;
            let _ = myself.cast(SessionMsg::LoggedIn(LoginOutcome {
                granted,
                credentials,
            }));
        });
    }

    pub(super) fn logged_in(&mut self, myself: &ActorRef<SessionMsg>, outcome: LoginOutcome) {
        let event = match outcome.granted {
            Ok(grant) => {
                let lease = grant.lease;
                self.publish_grant(grant);
                Event::Granted(lease)
            }
            Err(error) => {
                self.publish_fault(&error);
                Event::Failed(error.failure(&self.args.settings.method))
            }
        };
        self.note(myself, event);
        if event == Event::Failed(Failure::Counted) {
            self.leave_alone(myself, outcome.credentials);
        }
    }

    fn start_renewal(&mut self, myself: &ActorRef<SessionMsg>) {
        let Some(session) = self.current() else {
            return;
        };
        let (client, settings) = (self.args.client.clone(), self.args.settings.clone());
        let (myself, now) = (myself.clone(), Instant::now());
        let left = session.remaining(now).ttl.unwrap_or(STEP_LIMIT);
        let deadline = now + (left / 2).clamp(RENEW_LEAST, STEP_LIMIT);
        self.tasks.spawn(async move {
            let outcome = client
                .renew_self(&settings.namespace, &session.token, deadline)
                .await;
            let _ = myself.cast(SessionMsg::Renewed(RenewOutcome(outcome)));
        });
    }

    pub(super) fn renewed(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        RenewOutcome(outcome): RenewOutcome,
    ) {
        let event = match outcome {
            Ok(renewed) => {
                if let Some(lease) = renewed {
                    self.publish_lease(lease);
                }
                Event::Renewed(renewed)
            }
            Err(error) => {
                events::RenewalFailed {
                    error: error.to_string(),
                }
                .emit();
                Event::NotRenewed(match &error {
                    CallError::Unreachable { .. } => Failure::Away,
                    error if error.is_transient() => Failure::Transient(error.retry_after()),
                    _ => Failure::Refused,
                })
            }
        };
        self.note(myself, event);
    }

    /// Publishes why there is no login, once.
    fn publish_fault(&mut self, error: &LoginError) {
        self.failed.failed(Instant::now());
        self.args.client.metrics().login_failed(error.class());
        let fault = LoginFault {
            text: error.to_string(),
            refused: error.is_refusal(),
        };
        let known = self.args.view.borrow().fault.as_ref() == Some(&fault);
        if !known {
            events::LoginFailed {
                error: error.to_string(),
            }
            .emit();
            self.args.view.send_modify(|view| view.fault = Some(fault));
        }
    }

    fn publish_grant(&mut self, grant: Grant) {
        let now = Instant::now();
        let generation = self.args.view.borrow().logins + 1;
        self.revoke_later(self.current());
        let ended = self.failed.end(now);
        events::LoggedIn {
            generation,
            ttl_seconds: grant.lease.ttl.map(|ttl| ttl.as_secs()),
            renewable: grant.lease.renewable,
            failed: ended.map(|it| it.failed),
            lasted: ended.map(|it| it.lasted()),
        }
        .emit();
        let session = Arc::new(Session {
            token: Arc::new(grant.token),
            generation,
            obtained: now,
            expires: grant.lease.ttl.map(|ttl| now + ttl),
            lease: grant.lease,
        });
        self.args.view.send_modify(|view| {
            view.current = Some(session);
            view.fault = None;
            view.suspended_until = None;
            view.logins = generation;
        });
    }

    fn publish_lease(&self, lease: Lease) {
        let Some(session) = self.current() else {
            return;
        };
        let renewed = Arc::new(Session {
            expires: lease.ttl.map(|ttl| Instant::now() + ttl),
            lease,
            ..(*session).clone()
        });
        self.args
            .view
            .send_modify(|view| view.current = Some(renewed));
    }

    /// Ends a token of ours that has a successor by now.
    fn revoke_later(&mut self, replaced: Option<Arc<Session>>) {
        let Some(session) = replaced.filter(|_| self.args.settings.method.owns_its_token()) else {
            return;
        };
        let (client, settings) = (self.args.client.clone(), self.args.settings.clone());
        let wait = plan::revoke_in(session.remaining(Instant::now()));
        self.tasks.spawn(async move {
            tokio::time::sleep(wait).await;
            revoke(&client, &settings, &session, STEP_LIMIT).await;
        });
    }

    /// Ends the token with the process, if it is ours.
    pub(super) async fn end(&mut self) {
        let Some(session) = self.current() else {
            return;
        };
        if self.args.settings.method.owns_its_token() {
            let (client, settings) = (&self.args.client, &self.args.settings);
            revoke(client, settings, &session, REVOKE_LIMIT).await;
        }
    }
}

async fn revoke(client: &Client, settings: &Settings, session: &Session, limit: Duration) {
    let deadline = Instant::now() + limit;
    let revoked = client
        .revoke_self(&settings.namespace, &session.token, deadline)
        .await;
    if let Err(error) = revoked {
        // It ends by itself when its lease does.
        debug!(%error, "a token that is no longer needed was not revoked");
    }
}
