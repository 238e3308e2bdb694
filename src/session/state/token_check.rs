//! Checks a token with which Vault refused a call: is the token invalid, or was the path denied?

use ractor::{ActorRef, RpcReplyPort};
use tokio::time::Instant;

use super::State;
use crate::reason::Reason;
use crate::session::machine::Event;
use crate::session::message::{SessionMsg, TokenStatus};
use crate::session::schedule::LOGIN_TIMEOUT;
use crate::session::view::LoginFault;
use crate::telemetry::events;
use crate::vault::{ApiErrorKind, CallError, Lease};

impl State {
    /// Replies at once if the token was replaced, else after a check; one check serves all callers.
    pub(in crate::session) fn check_token(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        generation: u64,
        reply: RpcReplyPort<TokenStatus>,
    ) {
        if self.generation() != Some(generation) {
            let _ = reply.send(TokenStatus::Invalid);
        } else if self.checks.current.is_empty() {
            self.checks.current.push(reply);
            self.start_check(myself);
        } else {
            self.checks.next.push(reply);
        }
    }

    /// The check of this generation's token has ended.
    pub(in crate::session) fn token_checked(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        generation: u64,
        status: TokenStatus,
    ) {
        let is_current = self.generation() == Some(generation);
        // A replaced token is of no use, whatever its check found.
        let status = if is_current {
            status
        } else {
            TokenStatus::Invalid
        };
        if status == TokenStatus::Invalid && is_current {
            events::TokenRejected {}.emit();
            // Another server may know it all the same.
            self.revoke_replaced();
            // Before the replies, so that no caller uses the invalid token again.
            self.handle(myself, Event::TokenInvalid);
            self.publish_short_life();
        }
        reply_all(std::mem::take(&mut self.checks.current), status);
        let next = std::mem::take(&mut self.checks.next);
        if status == TokenStatus::Invalid {
            reply_all(next, status);
        } else if !next.is_empty() {
            self.checks.current = next;
            self.start_check(myself);
        }
    }

    /// Tells waiting calls why there is no login yet after several tokens that died young.
    fn publish_short_life(&self) {
        if self.machine.short_lived() > 1 && self.machine.needs_login() {
            let fault = LoginFault {
                reason: Reason::TokenRejected,
                cause: "Vault rejects tokens soon after it has granted them".to_owned(),
                remedy: Some(
                    "check that all of vault.address is one cluster, and token_bound_cidrs of the role"
                        .to_owned(),
                ),
                rejected: false,
            };
            self.args.view.send_modify(|view| view.fault = Some(fault));
        }
    }

    fn generation(&self) -> Option<u64> {
        self.current().map(|session| session.generation)
    }

    fn start_check(&mut self, myself: &ActorRef<SessionMsg>) {
        let Some(session) = self.current() else {
            return;
        };
        let client = self.args.client.clone();
        let settings = self.args.settings.clone();
        let myself = myself.clone();
        self.tasks.spawn(async move {
            let deadline = Instant::now() + LOGIN_TIMEOUT;
            let lease = client
                .lookup_self(&settings.namespace, &session.token, deadline)
                .await;
            let _ = myself.cast(SessionMsg::TokenChecked {
                generation: session.generation,
                status: status_of(lease),
            });
        });
    }
}

fn reply_all(callers: Vec<RpcReplyPort<TokenStatus>>, status: TokenStatus) {
    for reply in callers {
        // The caller may have given up.
        let _ = reply.send(status);
    }
}

fn status_of(lease: Result<Lease, CallError>) -> TokenStatus {
    match lease {
        Ok(_) => TokenStatus::Valid,
        Err(error) => match error.api_error() {
            // Denied by a policy, so Vault knows the token: its role lacks the default policy.
            Some(ApiErrorKind::PolicyDenied) => TokenStatus::Valid,
            Some(ApiErrorKind::TokenRefused) => TokenStatus::Invalid,
            _ => TokenStatus::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(kind: ApiErrorKind) -> CallError {
        CallError::Api {
            path: "auth/token/lookup-self".to_owned(),
            status: 403,
            message: String::new(),
            kind,
            retry_after: None,
        }
    }

    #[test]
    fn only_a_refusal_of_the_token_itself_is_a_sign_that_it_is_invalid() {
        let timed_out = CallError::TimedOut {
            path: "auth/token/lookup-self".to_owned(),
            address: "http://127.0.0.1:8200".to_owned(),
        };
        for (error, status) in [
            (api(ApiErrorKind::TokenRefused), TokenStatus::Invalid),
            (api(ApiErrorKind::PolicyDenied), TokenStatus::Valid),
            (api(ApiErrorKind::Transient), TokenStatus::Unknown),
            (api(ApiErrorKind::Throttled), TokenStatus::Unknown),
            (timed_out, TokenStatus::Unknown),
        ] {
            let text = error.to_string();
            assert_eq!(status_of(Err(error)), status, "{text}");
        }
    }
}
