//! One operation against Vault inside a deadline: waits for the session, repeats what a passing
//! fault spoiled, and tells a dead token from a denied path.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use super::KeyMsg;
use super::error::KeyError;
use super::lane::{Ask, Route, Waiter};
use super::manager::{Event, Operation};
use crate::session::{Session, Sessions, TokenStatus};
use crate::telemetry::spans::Parent;
use crate::vault::{ApiErrorKind, CallError, Client, TransitKey};

/// The first wait before a repeat; it doubles from there.
const REPEAT_FIRST: Duration = Duration::from_millis(25);
/// The longest wait before a repeat.
const REPEAT_MOST: Duration = Duration::from_secs(1);
/// What a last try needs; with less left before the deadline the failure is the answer.
const LAST_TRY: Duration = Duration::from_millis(50);

/// The way to Vault, with a session.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) client: Arc<Client>,
    pub(super) sessions: Sessions,
    /// Where the lanes are.
    pub(super) manager: ActorRef<KeyMsg>,
    /// For which call.
    pub(super) parent: Parent,
}

/// What to do after a failed call.
enum After {
    /// Call again, with whatever session there is then.
    Again,
    /// Call again after a wait: the fault passes by itself.
    Later,
    /// This is the answer.
    Never,
}

impl Caller {
    /// The same way, for this call.
    pub(super) fn of(&self, parent: Parent) -> Self {
        Self {
            parent,
            ..self.clone()
        }
    }

    /// Calls until it succeeds, is refused for good, or `deadline` comes.
    pub(super) async fn call<T, F, C>(
        &self,
        key: &TransitKey,
        deadline: Instant,
        operation: F,
    ) -> Result<T, KeyError>
    where
        F: Fn(Arc<Session>) -> C,
        C: Future<Output = Result<T, CallError>>,
    {
        let mut first_refused = None;
        let mut repeat_in = REPEAT_FIRST;
        loop {
            let session = self.sessions.wait(deadline).await?;
            let error = match operation(session.clone()).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            match self
                .after(&error, &session, &mut first_refused, deadline)
                .await
            {
                After::Again => {}
                After::Later => {
                    let wait = repeat_in.mul_f64(0.5 + 0.5 * fastrand::f64());
                    repeat_in = (repeat_in * 2).min(REPEAT_MOST);
                    match pause(wait, error.retry_after(), deadline) {
                        Some(wait) => sleep(wait).await,
                        None if error.api_error() == Some(ApiErrorKind::TokenRefused) => {
                            return Err(KeyError::of_doubtful_token(&error));
                        }
                        None => return Err(KeyError::of_call(key, &error)),
                    }
                }
                After::Never => return Err(KeyError::of_call(key, &error)),
            }
        }
    }

    /// Lines an operation up with those of other callers, until it succeeds, is refused for good, or
    /// `deadline` comes.
    pub(super) async fn share<O: Operation>(
        &self,
        key: &Arc<TransitKey>,
        deadline: Instant,
        load: O,
    ) -> Result<O::Made, KeyError> {
        let operation = |session| self.line_up(key.clone(), session, deadline, load.clone());
        self.call(key, deadline, operation).await
    }

    async fn line_up<O: Operation>(
        &self,
        key: Arc<TransitKey>,
        session: Arc<Session>,
        deadline: Instant,
        load: O,
    ) -> Result<O::Made, CallError> {
        let (reply, outcome) = oneshot::channel();
        let ask = Ask {
            load,
            route: Route {
                key: key.clone(),
                session,
            },
            waiter: Waiter {
                deadline,
                parent: self.parent.clone(),
                reply,
            },
        };
        // Without an actor this task has not long to live either.
        let _ = self
            .manager
            .cast(KeyMsg::Batch(O::message(Event::Asked(ask))));
        match timeout_at(deadline, outcome).await {
            Ok(Ok(outcome)) => outcome,
            _ => Err(CallError::TimedOut {
                path: key.path(O::NAME),
                address: self.client.address(),
            }),
        }
    }

    async fn after(
        &self,
        error: &CallError,
        session: &Session,
        first_refused: &mut Option<Instant>,
        deadline: Instant,
    ) -> After {
        match error.api_error() {
            Some(ApiErrorKind::TokenRefused) => {
                let since = *first_refused.get_or_insert_with(Instant::now);
                // A token that is younger than the refusal cannot be dead: it is the path.
                if session.obtained > since {
                    return After::Never;
                }
                match self
                    .sessions
                    .check_token(session.generation, deadline)
                    .await
                {
                    TokenStatus::Valid => After::Never,
                    TokenStatus::Invalid => After::Again,
                    TokenStatus::Unknown => After::Later,
                }
            }
            _ if error.is_transient() => After::Later,
            _ => After::Never,
        }
    }
}

/// How long to wait before a repeat that still fits the deadline; the last one comes just in time.
fn pause(wait: Duration, asked: Option<Duration>, deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    let most = left.checked_sub(LAST_TRY)?;
    match asked {
        Some(asked) if asked > most => None,
        Some(asked) => Some(wait.max(asked).min(most)),
        None => Some(wait.min(most)),
    }
}
