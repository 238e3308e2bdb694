//! One address: its connections, and what is remembered of how it did.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::watch;
use tokio::time::Instant;

use super::build::{BuildError, Recipe};
use super::mark::Mark;
use super::proxy::Proxy;
use super::request::Request;
use crate::telemetry::events;
use crate::telemetry::spans::RequestSpan;
use crate::vault::answer::Answer;
use crate::vault::error::CallError;
use crate::vault::error_kind::ApiErrorKind;
use crate::vault::tls::{self, ServerCertificate, Tls};

/// An address and its connections.
#[derive(Debug)]
pub(super) struct Node {
    recipe: Recipe,
    pool: RwLock<Arc<Pool>>,
    mark: Mutex<Mark>,
}

/// Connections that were made alike.
#[derive(Debug)]
pub(super) struct Pool {
    http: reqwest::Client,
    tls: Option<Tls>,
    /// When an answer last began to come.
    heard: watch::Sender<Option<Instant>>,
}

impl Node {
    pub(super) fn new(recipe: Recipe, tls: Option<Tls>) -> Result<Self, BuildError> {
        let pool = Pool::new(&recipe, tls)?;
        Ok(Self {
            recipe,
            pool: RwLock::new(Arc::new(pool)),
            mark: Mutex::new(Mark::Works),
        })
    }

    /// The address for an operator, with the proxy on the way to it.
    pub(super) fn label(&self) -> &str {
        &self.recipe.label
    }

    /// Where it can be redirected to.
    pub(super) fn origin(&self) -> Option<&Url> {
        self.recipe.origin.as_ref()
    }

    pub(super) fn pool(&self) -> Arc<Pool> {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner);
        pool.clone()
    }

    pub(super) fn mark(&self) -> Mark {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that it cost a call its time.
    pub(super) fn hangs(&self) {
        self.set_mark(Mark::Hung(Instant::now()));
    }

    /// Remembers how an exchange went.
    pub(super) fn note(&self, outcome: &Result<Answer, CallError>) {
        match outcome {
            // Whoever found that out has set the mark.
            Err(CallError::Unreachable { .. } | CallError::TimedOut { .. }) => {}
            Err(CallError::UnexpectedResponse { .. }) => {
                self.set_mark(Mark::Ailing(Instant::now()))
            }
            Err(CallError::Api { kind, .. }) if *kind == ApiErrorKind::Transient => {
                self.set_mark(Mark::Ailing(Instant::now()));
            }
            Ok(_) | Err(CallError::Api { .. }) => self.set_mark(Mark::Works),
        }
    }

    /// Makes connections with these certificates from now on; requests under way end as they began.
    pub(super) fn renew(&self, tls: &Tls) {
        if self.recipe.speaks_tls {
            self.put(Pool::new(&self.recipe, Some(tls.clone())));
        }
    }

    /// Makes new connections from now on, unless somebody did so meanwhile: whether it was done.
    pub(super) fn replace(&self, before: &Arc<Pool>) -> bool {
        let is_due = Arc::ptr_eq(&self.pool(), before) && !before.is_fresh();
        if is_due {
            self.drop_connections();
        }
        is_due
    }

    /// Makes new connections from now on.
    pub(super) fn drop_connections(&self) {
        self.put(Pool::new(&self.recipe, self.pool().tls.clone()));
    }

    /// Whether connections are kept though no answer came for so long.
    pub(super) fn was_quiet_for(&self, time: Duration) -> bool {
        let heard = self.pool().heard();
        heard.is_some_and(|heard| heard.elapsed() >= time)
    }

    /// Sends the request and waits for the head of the answer.
    pub(super) async fn exchange(
        &self,
        pool: &Pool,
        request: &Request<'_>,
    ) -> Result<reqwest::Response, CallError> {
        let mut url = self.recipe.base.clone();
        url.set_path(&format!("{}v1/{}", self.recipe.base.path(), request.path));
        url.set_query(request.query);
        let span = RequestSpan::begin(&request.method, &url);
        let mut call = pool
            .http
            .request(request.method.clone(), url)
            .headers(request.headers());
        if let Some(body) = &request.body {
            call = call.body(body.clone());
        }
        let answer = call.send().await;
        let answer = answer.map_err(|error| self.unreachable(pool, request, &error));
        span.end(answer.as_ref().map(reqwest::Response::status));
        let answer = answer?;
        pool.hear();
        Ok(answer)
    }

    fn unreachable(&self, pool: &Pool, request: &Request<'_>, error: &reqwest::Error) -> CallError {
        let late = error.is_connect() && error.is_timeout();
        let now = Instant::now();
        self.set_mark(if late {
            Mark::Hung(now)
        } else {
            Mark::Ailing(now)
        });
        let cause = match late {
            true => format!(
                "no connection within {}",
                humantime::format_duration(self.recipe.connect_limit)
            ),
            false => Proxy::explain(pool.cause(error)),
        };
        CallError::Unreachable {
            path: request.path.to_owned(),
            address: self.label().to_owned(),
            cause,
        }
    }

    fn put(&self, pool: Result<Pool, BuildError>) {
        match pool {
            Ok(pool) => {
                let mut place = self.pool.write().unwrap_or_else(PoisonError::into_inner);
                *place = Arc::new(pool);
            }
            Err(error) => events::ConnectionsNotRebuilt {
                error: error.to_string(),
            }
            .emit(),
        }
    }

    fn set_mark(&self, mark: Mark) {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = mark;
    }
}

impl Pool {
    fn new(recipe: &Recipe, tls: Option<Tls>) -> Result<Self, BuildError> {
        let http = recipe.client(tls.as_ref())?;
        Ok(Self {
            http,
            tls,
            heard: watch::Sender::new(None),
        })
    }

    /// Whether no connection of it ever brought an answer.
    pub(super) fn is_fresh(&self) -> bool {
        self.heard().is_none()
    }

    pub(super) fn was_heard_since(&self, moment: Instant) -> bool {
        self.heard().is_some_and(|heard| heard >= moment)
    }

    fn heard(&self) -> Option<Instant> {
        *self.heard.borrow()
    }

    fn hear(&self) {
        self.heard.send_replace(Some(Instant::now()));
    }

    /// Returns once an answer came over one of its connections.
    pub(super) async fn first_answer(&self) {
        // An error means that the sender is gone, which is a part of this.
        let _ = self.heard.subscribe().wait_for(Option::is_some).await;
    }

    pub(super) fn server_certificate(&self) -> Option<ServerCertificate> {
        self.tls.as_ref()?.accepted.words()
    }

    /// Until when the server's certificate is valid, and ours, in UTC seconds.
    pub(super) fn certificate_ends(&self) -> [(&'static str, Option<i64>); 2] {
        let server = self.server_certificate().map(|it| it.not_after);
        let client = self.tls.as_ref().and_then(|tls| tls.shown.not_after());
        [("server", server), ("client", client)]
    }

    fn cause(&self, error: &reqwest::Error) -> String {
        let shown = self.tls.as_ref().map(|tls| &*tls.shown);
        // A connection that came up once was not refused for its certificate.
        let blame_ours = self.is_fresh() && !error.is_connect();
        tls::cause(error, shown, blame_ours)
    }
}
