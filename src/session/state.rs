//! The session's state and what each message does to it.

mod news;
mod quiet;

use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::credentials::{self, Fingerprint};
use super::login::{self, LoginError, Settings};
use super::plan::{self, Next};
use super::view::{Doubt, LoginFault, Session};
use super::{Arguments, SessionMsg};
use crate::actor::reap;
use crate::vault::{CallError, Client, Grant, Lease, Refusal};

/// How long one login or renewal may take. Longer than a call's deadline: TokenReview is slow.
const STEP_LIMIT: Duration = Duration::from_secs(10);

/// How long the end of the process waits for its token's.
const REVOKE_LIMIT: Duration = Duration::from_secs(1);

/// What the actor keeps.
#[derive(Debug)]
pub struct State {
    args: Arguments,
    next: Next,
    timer: Option<AbortHandle>,
    /// Whether a login or a renewal is under way.
    busy: bool,
    failures: u32,
    /// Whether Vault could not be reached at the last try.
    away: bool,
    /// Waits for a change of credentials that Vault refused.
    watcher: Option<AbortHandle>,
    doubts: Vec<RpcReplyPort<Doubt>>,
    tasks: JoinSet<()>,
}

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
        let session = args.view.borrow().current.clone();
        let next = session.map_or(Next::Login(Duration::ZERO), |session| {
            plan::after_login(session.remaining(Instant::now()), fastrand::f64())
        });
        let mut state = Self {
            args,
            next,
            timer: None,
            busy: false,
            failures: 0,
            away: false,
            watcher: None,
            doubts: Vec::new(),
            tasks: JoinSet::new(),
        };
        state.stay_quiet(myself);
        state.schedule(myself);
        state
    }

    pub(super) fn reap(&mut self) -> Result<(), ActorProcessingErr> {
        reap(&mut self.tasks)
    }

    fn current(&self) -> Option<Arc<Session>> {
        self.args.view.borrow().current.clone()
    }

    /// Does what is due: drops a session that ended, then renews or logs in.
    pub(super) fn step(&mut self, myself: &ActorRef<SessionMsg>) {
        if self.current().is_some_and(|s| s.is_expired(Instant::now())) {
            self.args.view.send_modify(|view| view.current = None);
            self.next = Next::Login(Duration::ZERO);
        }
        if self.current().is_none() && !self.quiet().is_zero() {
            self.next = Next::Login(self.quiet());
            return self.schedule(myself);
        }
        if self.busy {
            return;
        }
        match (self.current(), self.next) {
            (Some(session), Next::Renew(_)) => self.start_renewal(myself, &session),
            (Some(_), Next::Rest) => {}
            _ => self.start_login(myself),
        }
    }

    fn start_login(&mut self, myself: &ActorRef<SessionMsg>) {
        self.busy = true;
        self.watch_no_more();
        let (client, settings) = (self.args.client.clone(), self.args.settings.clone());
        let (myself, was_away) = (myself.clone(), self.away);
        self.tasks.spawn(async move {
            let credentials = credentials::fingerprint(&settings.method.credentials()).await;
            let granted = log_in(&client, &settings, was_away).await;
            // The actor may have stopped meanwhile; then nobody wants the outcome.
            let _ = myself.cast(SessionMsg::LoggedIn(LoginOutcome {
                granted,
                credentials,
            }));
        });
    }

    fn start_renewal(&mut self, myself: &ActorRef<SessionMsg>, session: &Arc<Session>) {
        self.busy = true;
        let (client, settings) = (self.args.client.clone(), self.args.settings.clone());
        let (myself, token) = (myself.clone(), session.token.clone());
        self.tasks.spawn(async move {
            let deadline = Instant::now() + STEP_LIMIT;
            let outcome = client
                .renew_self(&settings.namespace, &token, deadline)
                .await;
            let _ = myself.cast(SessionMsg::Renewed(RenewOutcome(outcome)));
        });
    }

    pub(super) fn logged_in(&mut self, myself: &ActorRef<SessionMsg>, outcome: LoginOutcome) {
        self.busy = false;
        match outcome.granted {
            Ok(grant) => {
                (self.failures, self.away) = (0, false);
                self.next = plan::after_login(grant.lease, fastrand::f64());
                let session = self.publish_grant(grant);
                info!(
                    generation = session.generation,
                    ttl_seconds = session.lease.ttl.map(|ttl| ttl.as_secs()),
                    renewable = session.lease.renewable,
                    "logged in to vault"
                );
            }
            Err(error) => {
                let mut wait = self.note_failure(&error);
                if error.harms_if_repeated(&self.args.settings.method) {
                    wait = self.leave_alone(myself, outcome.credentials);
                }
                self.next = Next::Login(wait);
            }
        }
        self.schedule(myself);
    }

    /// Publishes why there is no login and returns how long to wait.
    fn note_failure(&mut self, error: &LoginError) -> Duration {
        let fault = LoginFault {
            text: error.to_string(),
            refused: error.is_refusal(),
        };
        let known = self.args.view.borrow().fault.as_ref() == Some(&fault);
        if !known {
            warn!(%error, "no login to vault");
            self.args.view.send_modify(|view| view.fault = Some(fault));
        }
        self.away = error.is_away();
        self.failures = self.failures.saturating_add(1);
        if self.away {
            return plan::health_in(fastrand::f64());
        }
        plan::retry_in(self.failures, error.retry_after(), fastrand::f64())
    }

    fn publish_grant(&mut self, grant: Grant) -> Arc<Session> {
        let now = Instant::now();
        let generation = self.args.view.borrow().logins + 1;
        self.revoke_later(self.current());
        let session = Arc::new(Session {
            token: Arc::new(grant.token),
            generation,
            obtained: now,
            granted: grant.lease.ttl,
            expires: grant.lease.ttl.map(|ttl| now + ttl),
            lease: grant.lease,
        });
        self.args.view.send_modify(|view| {
            view.current = Some(session.clone());
            view.fault = None;
            view.quiet_until = None;
            view.logins = generation;
        });
        session
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

    pub(super) fn renewed(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        RenewOutcome(outcome): RenewOutcome,
    ) {
        self.busy = false;
        let Some(session) = self.current() else {
            return self.step(myself);
        };
        match outcome {
            Ok(renewed) => {
                self.failures = 0;
                self.next = plan::after_renewal(session.granted, renewed, fastrand::f64());
                if let Some(lease) = renewed {
                    self.publish_lease(&session, lease);
                }
            }
            Err(error) if error.is_passing() => {
                warn!(%error, "renewal failed, will repeat it");
                self.failures = self.failures.saturating_add(1);
                let wait = plan::retry_in(self.failures, error.retry_after(), fastrand::f64());
                self.next = Next::Renew(wait);
            }
            Err(error) => {
                warn!(%error, "renewal refused, logging in anew");
                self.next = Next::Login(Duration::ZERO);
            }
        }
        self.schedule(myself);
    }

    fn publish_lease(&self, session: &Session, lease: Lease) {
        let renewed = Arc::new(Session {
            expires: lease.ttl.map(|ttl| Instant::now() + ttl),
            lease,
            ..session.clone()
        });
        self.args
            .view
            .send_modify(|view| view.current = Some(renewed));
    }

    /// Answers a doubt at once where the token was replaced, else looks; one look serves all.
    pub(super) fn doubt(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        generation: u64,
        reply: RpcReplyPort<Doubt>,
    ) {
        let session = match self.current() {
            Some(session) if session.generation == generation => session,
            _ => {
                let _ = reply.send(Doubt::Replaced);
                return;
            }
        };
        self.doubts.push(reply);
        if self.doubts.len() > 1 {
            return;
        }
        let (client, settings) = (self.args.client.clone(), self.args.settings.clone());
        let myself = myself.clone();
        self.tasks.spawn(async move {
            let deadline = Instant::now() + STEP_LIMIT;
            let looked = client
                .lookup_self(&settings.namespace, &session.token, deadline)
                .await;
            let doubt = judge(looked);
            let _ = myself.cast(SessionMsg::Looked { generation, doubt });
        });
    }

    pub(super) fn looked(&mut self, myself: &ActorRef<SessionMsg>, generation: u64, doubt: Doubt) {
        let is_current = self.current().is_some_and(|s| s.generation == generation);
        if doubt == Doubt::Replaced && is_current {
            warn!("vault no longer knows the token, logging in anew");
            self.args.view.send_modify(|view| view.current = None);
            self.next = Next::Login(Duration::ZERO);
            self.step(myself);
        }
        // A look at an older token says nothing of the one that callers doubt by now.
        let answer = if is_current { doubt } else { Doubt::Replaced };
        for reply in self.doubts.drain(..) {
            let _ = reply.send(answer);
        }
    }

    /// Sets the timer for what is next, or for the session's end if that comes first.
    fn schedule(&mut self, myself: &ActorRef<SessionMsg>) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
        let planned = match self.next {
            Next::Renew(wait) | Next::Login(wait) => Some(wait),
            Next::Rest => None,
        };
        let end = self
            .current()
            .and_then(|session| session.expires)
            .map(|end| end.saturating_duration_since(Instant::now()));
        if let Some(wait) = planned.into_iter().chain(end).min() {
            let timer = myself.send_after(wait, || SessionMsg::Step);
            self.timer = Some(timer.abort_handle());
        }
    }
}

/// Reaches the server, then logs in. A fleet whose Vault comes back does not return all at once.
async fn log_in(client: &Client, settings: &Settings, was_away: bool) -> Result<Grant, LoginError> {
    login::reach(client, Instant::now() + STEP_LIMIT).await?;
    if was_away {
        tokio::time::sleep(Duration::from_secs(1).mul_f64(fastrand::f64())).await;
    }
    login::login(client, settings, Instant::now() + STEP_LIMIT).await
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

/// What a look at a doubted token says.
fn judge(looked: Result<Lease, CallError>) -> Doubt {
    match looked {
        Ok(_) => Doubt::Alive,
        Err(error) => match error.refusal() {
            // Refused by a policy, so known to Vault: a role without the default policy.
            Some(Refusal::PolicyDenied) => Doubt::Alive,
            Some(Refusal::TokenRefused) => Doubt::Replaced,
            _ => Doubt::Unknown,
        },
    }
}
