//! Who is logged in: the snapshot that the session actor publishes and everybody else reads.

use std::sync::Arc;

use ractor::concurrency::oneshot;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::{Event, SessionMsg};
use crate::actor::Current;
use crate::vault::{Lease, Token};

/// A token that Vault accepted. A clone shares the token itself.
#[derive(Debug, Clone)]
pub struct Session {
    /// The token.
    pub token: Arc<Token>,
    /// Counts logins of this process; a renewal keeps it.
    pub generation: u64,
    /// When it was granted.
    pub obtained: Instant,
    /// The lease as last granted or renewed.
    pub lease: Lease,
    /// When it ends, unless renewed.
    pub expires: Option<Instant>,
}

/// Why there is no session, or why the next one cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFault {
    /// What happened and what to do.
    pub text: String,
    /// Whether Vault refused the credentials; else it could not be asked.
    pub refused: bool,
}

/// The snapshot. The Supervisor owns its sender, so that a session outlives the actor.
#[derive(Debug, Default, Clone)]
pub struct SessionView {
    /// The session to use now.
    pub current: Option<Arc<Session>>,
    /// The last failure to log in, until a login succeeds.
    pub fault: Option<LoginFault>,
    /// Until when refused credentials are left alone; outlives the actor, as a lockout would.
    pub suspended_until: Option<Instant>,
    /// When the token is renewed, or the next login tried.
    pub next_step: Option<Instant>,
    /// How many logins of this process succeeded.
    pub logins: u64,
}

/// What became of a token that Vault refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStatus {
    /// It is alive: the refusal meant the path.
    Valid,
    /// It is dead or was replaced: wait for the next session.
    Invalid,
    /// Nobody could tell in time.
    Unknown,
}

/// The readers' end.
#[derive(Debug, Clone)]
pub struct Sessions {
    view: watch::Receiver<SessionView>,
    actor: Current<SessionMsg>,
}

impl Session {
    /// The lease with what is left of it now.
    pub(super) fn remaining(&self, now: Instant) -> Lease {
        Lease {
            ttl: self.expires.map(|end| end.saturating_duration_since(now)),
            ..self.lease
        }
    }
}

impl Sessions {
    /// Reads what `view` publishes and asks what `actor` holds.
    #[must_use]
    pub fn new(view: watch::Receiver<SessionView>, actor: Current<SessionMsg>) -> Self {
        Self { view, actor }
    }

    /// The snapshot now.
    #[must_use]
    pub fn view(&self) -> SessionView {
        self.view.borrow().clone()
    }

    /// The session, waiting for the next login if need be.
    ///
    /// # Errors
    /// At the deadline, with the reason why there is none.
    pub async fn wait(&self, deadline: Instant) -> Result<Arc<Session>, LoginFault> {
        if self.view.borrow().current.is_none() {
            self.tell(Event::Wanted);
        }
        timeout_at(deadline, self.wait_long())
            .await
            .map_err(|_| self.fault())
    }

    /// The same without a deadline.
    pub async fn wait_long(&self) -> Arc<Session> {
        let mut view = self.view.clone();
        loop {
            if let Some(session) = view.borrow_and_update().current.clone() {
                return session;
            }
            if view.changed().await.is_err() {
                // The daemon is going down; whoever waits here goes with it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Asks the session actor whether a refused token lives.
    pub async fn check_token(&self, generation: u64, deadline: Instant) -> TokenStatus {
        let Some(actor) = self.actor.borrow().clone() else {
            return TokenStatus::Unknown;
        };
        let (reply, verdict) = oneshot();
        let asked = actor.cast(SessionMsg::CheckToken {
            generation,
            reply: reply.into(),
        });
        match (asked, timeout_at(deadline, verdict).await) {
            (Ok(()), Ok(Ok(doubt))) => doubt,
            _ => TokenStatus::Unknown,
        }
    }

    /// Lets the actor know that its token is alive but denied what it is for.
    pub fn report_denied(&self) {
        self.tell(Event::Denied);
    }

    fn tell(&self, event: Event) {
        if let Some(actor) = self.actor.borrow().as_ref() {
            // One that is just dying is started again, and goes on.
            let _ = actor.cast(SessionMsg::Happened(event));
        }
    }

    /// Why there is no session.
    pub(crate) fn fault(&self) -> LoginFault {
        self.view.borrow().fault.clone().unwrap_or(LoginFault {
            text: "not logged in to Vault yet".to_owned(),
            refused: false,
        })
    }
}

/// For whoever sends requests with the session.
impl Sessions {
    /// The session to use now, if there is one.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Session>> {
        self.view.borrow().current.clone()
    }

    /// Wakes at each change of the snapshot.
    pub(crate) fn subscribe(&self) -> watch::Receiver<SessionView> {
        self.view.clone()
    }

    /// Lets the actor know that a call waits for a session.
    pub(crate) fn request(&self) {
        self.tell(Event::Wanted);
    }
}
