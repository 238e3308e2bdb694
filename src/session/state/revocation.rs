//! Revokes tokens of our own that are no longer used.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::debug;

use super::{Arguments, State};
use crate::session::login::Settings;
use crate::session::message::LoginOutcome;
use crate::session::schedule::{self, LOGIN_TIMEOUT};
use crate::vault::{Client, Lease, Token};

/// How long the end of the process waits for a login that is in progress, whose token would live on.
const FINAL_LOGIN_TIMEOUT: Duration = Duration::from_millis(500);
/// How long it waits for one that unwraps a secret_id, which would be lost.
const FINAL_UNWRAP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it waits for its tokens to be revoked.
const FINAL_REVOKE_TIMEOUT: Duration = Duration::from_secs(1);

impl State {
    /// Revokes the current token, which is about to be replaced, once the calls that use it have
    /// ended.
    pub(super) fn revoke_replaced(&mut self) {
        if let Some(session) = self.current() {
            let remaining = session.active_token().remaining(Instant::now());
            self.revoke_later(session.token.clone(), remaining);
        }
    }

    /// Revokes a token of our own after a while, unless it is in use then: a caching Vault Agent
    /// gives the same one again.
    pub(super) fn revoke_later(&mut self, token: Arc<Token>, remaining: Lease) {
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
    pub(in crate::session) async fn revoke_all(&mut self) {
        if !self.args.settings.method.owns_token() {
            return;
        }
        let mut tokens = self.replaced.take();
        if let Some(session) = self.current() {
            tokens.retain(|token| !token.is_same(&session.token));
            tokens.push(session.token.clone());
        }
        let args = self.args.clone();
        let present = join_all(tokens.iter().map(|token| args.revoke_own(token)));
        let last = async {
            let mut login = self.login.outcome_within(FINAL_LOGIN_TIMEOUT).await;
            if args.settings.method.is_unwrapping() {
                login = self.login.outcome_within(FINAL_UNWRAP_TIMEOUT).await;
            }
            if let Some(Ok(grant)) = login.map(|outcome| outcome.granted) {
                args.revoke_own(&grant.token).await;
            }
        };
        tokio::join!(present, last);
    }
}

impl Arguments {
    /// Revokes the token of a login that ended after its actor.
    pub(super) async fn revoke_unclaimed(&self, outcome: LoginOutcome) {
        if let Ok(grant) = outcome.granted
            && self.settings.method.owns_token()
            && !self.uses(&grant.token)
        {
            revoke(
                &self.client,
                &self.settings,
                &grant.token,
                FINAL_REVOKE_TIMEOUT,
            )
            .await;
        }
    }

    /// Revokes a token at the end of the process or of this backend, unless another backend uses it.
    async fn revoke_own(&self, token: &Token) {
        let used = self.view.borrow().used_elsewhere.clone();
        if used.is_none_or(|used| !used.is_same(token)) {
            revoke(&self.client, &self.settings, token, FINAL_REVOKE_TIMEOUT).await;
        }
    }

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
