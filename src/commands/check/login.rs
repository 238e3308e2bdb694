//! The login, and what the token is worth. Nothing is used up that was not allowed to be.

use std::time::Duration;

use tokio::time::Instant;

use super::Report;
use super::words::about;
use crate::session::{Diagnosis, LoginCost, Settings};
use crate::vault::{ApiErrorKind, Client, Grant, Lease, Token};

/// As in the daemon.
const LOGIN_LIMIT: Duration = Duration::from_secs(10);
/// For a question about the token, and its end.
const LIMIT: Duration = Duration::from_secs(3);

/// Logs in, where that spends nothing or `allowed` says that it may.
pub(super) async fn log_in(
    client: &Client,
    settings: &Settings,
    allowed: bool,
    report: &mut Report,
) -> Option<Grant> {
    const NAME: &str = "login";
    let deadline = || Instant::now() + LOGIN_LIMIT;
    let waits_for = match settings.spends() {
        LoginCost::Nothing => None,
        LoginCost::PerhapsAUse => Some("a login may use up the secret_id".to_owned()),
        LoginCost::Wrapping(wrapped) => {
            match settings.look_at(wrapped, client, deadline()).await {
                Ok(text) => report.ok("secret_id", text),
                Err(trouble) => {
                    report.diagnosis("secret_id", &trouble, "put a new wrapping token there");
                    return None;
                }
            }
            Some("a login may unwrap the secret_id, or use it up".to_owned())
        }
    };
    if let (Some(reason), false) = (waits_for, allowed) {
        let text =
            format!("{reason}, so it was not tried, and nothing after it: --login does that");
        report.warning(NAME, text);
        return None;
    }
    match settings.log_in(client, deadline()).await {
        Ok(grant) => {
            report.ok(NAME, format!("by {}", settings.method.name()));
            Some(grant)
        }
        Err(trouble) => {
            report.diagnosis(
                NAME,
                &trouble,
                "try again once vault answers; its log may say more",
            );
            None
        }
    }
}

/// What the token is worth.
pub(super) async fn look_at_token(
    client: &Client,
    settings: &Settings,
    grant: &Grant,
    report: &mut Report,
) {
    const NAME: &str = "token";
    let (namespace, deadline) = (&settings.namespace, Instant::now() + LIMIT);
    let info = match client
        .describe_self(namespace, &grant.token, deadline)
        .await
    {
        Ok(info) => info,
        Err(error) if error.api_error() == Some(ApiErrorKind::PolicyDenied) => {
            report.warning(
                NAME,
                "it has no default policy: it can be neither looked at nor renewed, and is replaced by new logins",
            );
            return;
        }
        Err(error) => {
            report.unavailable(
                NAME,
                format!("vault: {error}"),
                "put a valid token in its place",
            );
            return;
        }
    };
    let policies = info.policies.join(", ");
    if info.policies.iter().any(|policy| policy == "root") {
        report.warning(
            NAME,
            "it is a root token, which may do everything: make one with the policy of deploy/policy.hcl",
        );
    } else if !settings.owns_its_token() && !info.lease.renewable {
        let life = life(info.lease);
        let text = format!(
            "it cannot be renewed and {life}: somebody has to put the next one there before"
        );
        report.warning(NAME, text);
    } else {
        let kind = if info.kind == "batch" {
            "batch token, "
        } else {
            ""
        };
        report.ok(
            NAME,
            format!("{kind}{}, policies {policies}", life(info.lease)),
        );
    }
}

fn life(lease: Lease) -> String {
    let renewable = if lease.renewable { ", renewable" } else { "" };
    match lease.ttl {
        Some(ttl) => format!("lives for {} more{renewable}", about(ttl)),
        None => "lives for ever".to_owned(),
    }
}

/// Ends a token that was got for this check alone.
pub(super) async fn log_out(
    client: &Client,
    settings: &Settings,
    token: &Token,
    report: &mut Report,
) {
    if !settings.owns_its_token() {
        return;
    }
    let ended = client.revoke_self(&settings.namespace, token, Instant::now() + LIMIT);
    if let Err(error) = ended.await {
        let trouble = Diagnosis::split(&error.to_string(), "; ");
        let text = format!(
            "it could not be revoked, and ends by itself: {}",
            trouble.cause
        );
        report.warning("token", text);
    }
}
