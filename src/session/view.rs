//! The snapshot of the session that its actor publishes, and the handle through which others read
//! it.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use ractor::concurrency::oneshot;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::active_token::ActiveToken;
use super::machine::Event;
use super::message::{SessionMsg, TokenStatus};
use crate::actor::Current;
use crate::diagnosis::write_joined;
use crate::reason::Reason;
use crate::system::clock::Moment;
use crate::vault::{Lease, Token};

/// A token that Vault accepted. A clone shares the token itself.
#[derive(Debug, Clone)]
pub struct Session {
    /// The token.
    pub token: Arc<Token>,
    /// The number of this login among those of the process; a renewal keeps it.
    pub generation: u64,
    /// When it was granted.
    pub obtained: Instant,
    /// The lease as last granted or renewed.
    pub lease: Lease,
    /// When it expires unless renewed.
    pub expires: Option<Instant>,
    /// When the lease was granted or renewed.
    pub leased: Moment,
}

/// Why there is no session, or why the next login failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFault {
    /// Its code.
    pub reason: Reason,
    /// What happened.
    pub cause: String,
    /// What an operator can do about it.
    pub remedy: Option<String>,
    /// Whether the credentials were rejected or cannot be used; else a retry may succeed.
    pub rejected: bool,
}

/// The snapshot. The Supervisor owns its sender, so that a session outlives the actor.
#[derive(Debug, Default, Clone)]
pub struct SessionView {
    /// The session to use now.
    pub current: Option<Arc<Session>>,
    /// The last failed login, until a login succeeds.
    pub fault: Option<LoginFault>,
    /// Until when logins are suspended; outlives the actor, as Vault's lockout does.
    pub suspended_until: Option<Instant>,
    /// When the token is renewed, or the next login begins.
    pub next_step: Option<Instant>,
    /// How many logins of this process succeeded.
    pub logins: u64,
    /// A token that another session of this process uses, so it must not be revoked: a caching
    /// Vault Agent gives the same one to both.
    pub used_elsewhere: Option<Arc<Token>>,
}

/// The readers' handle.
#[derive(Debug, Clone)]
pub struct Sessions {
    view: watch::Receiver<SessionView>,
    actor: Current<SessionMsg>,
}

impl Session {
    /// The session of a login.
    pub(super) fn new(token: Token, generation: u64, active: ActiveToken) -> Self {
        Self {
            token: Arc::new(token),
            generation,
            obtained: active.obtained,
            lease: active.lease,
            expires: active.expires,
            leased: Moment::now(),
        }
    }

    /// The wall-clock time at which it expires unless renewed: Vault's clock runs on while this host is
    /// suspended.
    #[must_use]
    pub fn end(&self) -> Option<Timestamp> {
        self.leased.wall_time_of(self.expires?)
    }

    /// The same session with the lease that the machine holds now.
    pub(super) fn with_lease(&self, active: ActiveToken) -> Self {
        Self {
            lease: active.lease,
            expires: active.expires,
            leased: Moment::now(),
            ..self.clone()
        }
    }

    /// What a machine needs to continue with this session.
    pub(super) fn active_token(&self) -> ActiveToken {
        ActiveToken::restored(self.lease, self.obtained, self.expires)
    }
}

impl fmt::Display for LoginFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_joined(f, &self.cause, self.remedy.as_deref())
    }
}

impl Sessions {
    /// Reads what `view` publishes and sends messages to `actor`.
    #[must_use]
    pub fn new(view: watch::Receiver<SessionView>, actor: Current<SessionMsg>) -> Self {
        Self { view, actor }
    }

    /// The snapshot now.
    #[must_use]
    pub fn view(&self) -> SessionView {
        self.view.borrow().clone()
    }

    /// Returns the session, after the next login if there is none now.
    ///
    /// # Errors
    /// At the deadline, with the reason why there is no session.
    pub async fn wait(&self, deadline: Instant) -> Result<Arc<Session>, LoginFault> {
        if self.view.borrow().current.is_none() {
            self.send(Event::SessionRequested);
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
                // The daemon is stopping, and this task with it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Checks whether a refused token is still valid.
    pub async fn check_token(&self, generation: u64, deadline: Instant) -> TokenStatus {
        let Some(actor) = self.actor.borrow().clone() else {
            return TokenStatus::Unknown;
        };
        let (reply, status) = oneshot();
        let sent = actor.cast(SessionMsg::CheckToken {
            generation,
            reply: reply.into(),
        });
        // An actor that has ended gives the message back, and with it the reply channel.
        if sent.is_err() {
            return TokenStatus::Unknown;
        }
        match timeout_at(deadline, status).await {
            Ok(Ok(status)) => status,
            _ => TokenStatus::Unknown,
        }
    }

    /// Reports that the token is valid but denied what it is needed for.
    pub fn report_denied(&self) {
        self.send(Event::PermissionDenied);
    }

    fn send(&self, event: Event) {
        if let Some(actor) = self.actor.borrow().as_ref() {
            // An actor that is stopping is restarted and continues without this event.
            let _ = actor.cast(SessionMsg::Happened(event));
        }
    }

    /// Why there is no session.
    pub(crate) fn fault(&self) -> LoginFault {
        self.view.borrow().fault.clone().unwrap_or(LoginFault {
            reason: Reason::LoginPending,
            cause: "not logged in to Vault yet".to_owned(),
            remedy: None,
            rejected: false,
        })
    }
}

/// For the senders of requests.
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
        self.send(Event::SessionRequested);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ractor::{Actor, ActorProcessingErr, ActorRef};

    use super::*;

    /// Keeps every message unanswered.
    struct Unresponsive;

    impl Actor for Unresponsive {
        type Msg = SessionMsg;
        type State = Vec<SessionMsg>;
        type Arguments = ();

        async fn pre_start(
            &self,
            _: ActorRef<SessionMsg>,
            (): (),
        ) -> Result<Vec<SessionMsg>, ActorProcessingErr> {
            Ok(Vec::new())
        }

        async fn handle(
            &self,
            _: ActorRef<SessionMsg>,
            message: SessionMsg,
            messages: &mut Vec<SessionMsg>,
        ) -> Result<(), ActorProcessingErr> {
            messages.push(message);
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_not_checked_by_the_deadline_is_unknown() {
        let view = watch::Sender::new(SessionView::default());
        let slot = watch::Sender::new(None);
        let sessions = Sessions::new(view.subscribe(), slot.subscribe());
        let began = Instant::now();
        let deadline = began + Duration::from_secs(3);
        // The actor restarts: that is known at once.
        let status = sessions.check_token(1, deadline).await;
        assert_eq!(
            (status, began.elapsed()),
            (TokenStatus::Unknown, Duration::ZERO)
        );
        let (actor, ended) = Actor::spawn(None, Unresponsive, ()).await.expect("started");
        slot.send_replace(Some(actor.clone()));
        let status = sessions.check_token(1, deadline).await;
        assert_eq!(status, TokenStatus::Unknown);
        assert!(Instant::now() >= deadline && began.elapsed() < Duration::from_secs(4));
        // An actor that has ended is not waited for.
        actor.stop(None);
        ended.await.expect("ended");
        let began = Instant::now();
        let status = sessions
            .check_token(1, began + Duration::from_secs(3))
            .await;
        assert_eq!(
            (status, began.elapsed()),
            (TokenStatus::Unknown, Duration::ZERO)
        );
    }

    #[test]
    fn a_renewed_session_is_the_same_token_with_another_lease() {
        let now = Instant::now();
        let hour = Duration::from_secs(3600);
        let active = |length| {
            let lease = crate::vault::Lease {
                ttl: Some(length),
                renewable: true,
                num_uses: 0,
            };
            ActiveToken::new(lease, now, now)
        };
        let token = Token::try_new("t").expect("a token");
        let session = Session::new(token, 7, active(hour));
        let renewed = session.with_lease(active(2 * hour));
        assert!(Arc::ptr_eq(&renewed.token, &session.token));
        assert_eq!(
            (renewed.generation, renewed.obtained),
            (7, session.obtained)
        );
        assert_eq!(renewed.lease.ttl, Some(2 * hour));
        assert_eq!(renewed.expires, Some(now + 2 * hour));
        let ends = [&session, &renewed].map(|it| it.end().expect("an end").as_second());
        assert!((ends[1] - ends[0] - 3600).abs() <= 5, "{ends:?}");
        let wall = Timestamp::now().as_second();
        assert!((ends[0] - wall - 3600).abs() <= 60, "{ends:?} {wall}");
    }
}
