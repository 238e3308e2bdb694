//! The login, and the properties of the token. Uses nothing up unless that was allowed.

use std::time::Duration;

use tokio::time::Instant;

use super::format::rounded;
use super::{REQUEST_TIMEOUT, Report};
use crate::session::{LOGIN_TIMEOUT, LoginCost, Settings};
use crate::vault::{ApiErrorKind, Client, Grant, Lease, Namespace, Token};

/// The age of a token is known in whole seconds.
const ROUNDED_AGE: Duration = Duration::from_secs(1);

/// Logs in, if that uses nothing up or `allowed` permits it.
pub(super) async fn log_in(
    client: &Client,
    settings: &Settings,
    allowed: bool,
    report: &mut Report,
) -> Option<Grant> {
    const NAME: &str = "login";
    let deadline = || Instant::now() + LOGIN_TIMEOUT;
    let cost = match settings.login_cost() {
        LoginCost::Nothing => None,
        LoginCost::PerhapsAUse => Some("consume a use of the secret_id"),
        LoginCost::PerhapsAnAttempt => {
            Some("count towards a lockout of the user, which a wrong password does")
        }
        LoginCost::Wrapping(wrapped) => {
            let found = settings.inspect_wrapping_token(wrapped, client, deadline());
            match found.await {
                Ok(text) => report.ok("secret_id", text),
                Err(error) => {
                    report.unavailable("secret_id", error, "put a new wrapping token there");
                    return None;
                }
            }
            Some("unwrap the secret_id, or consume a use of it")
        }
    };
    if let Some(cost) = cost
        && !allowed
    {
        let text =
            format!("skipped, with all later steps: a login may {cost}; run with --login to do it");
        report.warning(NAME, text);
        return None;
    }
    match settings.log_in(client, deadline()).await {
        Ok(grant) => {
            report.ok(NAME, format!("by {}", settings.method.name()));
            Some(grant)
        }
        Err(error) => {
            let remedy = "try again once Vault answers; its log may say more";
            report.unavailable(NAME, error, remedy);
            None
        }
    }
}

/// Reports the lease and the policies of the token. Returns its namespace, if that can be read.
pub(super) async fn describe_token(
    client: &Client,
    settings: &Settings,
    grant: &Grant,
    report: &mut Report,
) -> Option<Namespace> {
    const NAME: &str = "token";
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    let info = client
        .describe_self(&settings.namespace, &grant.token, deadline)
        .await;
    let info = match info {
        Ok(info) => info,
        Err(error) if error.api_error() == Some(ApiErrorKind::PolicyDenied) => {
            report.warning(
                NAME,
                "cannot be looked up or renewed (no \"default\" policy): new logins replace it",
            );
            return None;
        }
        Err(error) => {
            let error = error.diagnosis().about("vault");
            report.unavailable(NAME, error, "put a valid token in its place");
            return None;
        }
    };
    if info.policies.iter().any(|policy| policy == "root") {
        report.warning(
            NAME,
            "it is a root token, which may do everything: create one with the policy of deploy/policy.hcl",
        );
    } else if !settings.owns_token() && !info.lease.renewable {
        report.warning(NAME, not_renewable(info.lease));
    } else if !settings.owns_token() && !info.is_periodic {
        let text = "renewable, but not without an end: it has no period, or an explicit_max_ttl; create one with \
            -period and without -explicit-max-ttl";
        report.warning(NAME, text);
    } else if !settings.owns_token() && info.has_parent {
        let text = "it ends with the token that created it: create one with -orphan";
        report.warning(NAME, text);
    } else {
        let kind = if info.kind == "batch" {
            "batch token, "
        } else {
            ""
        };
        let policies = info.policies.join(", ");
        let lifetime = lifetime(info.lease);
        report.ok(NAME, format!("{kind}{lifetime}, policies {policies}"));
    }
    Some(info.namespace)
}

fn not_renewable(lease: Lease) -> String {
    match lease.ttl {
        Some(ttl) => format!(
            "not renewable, expires in {}: a new token must be written to the file before then",
            rounded(ttl)
        ),
        None => "not renewable, never expires".to_owned(),
    }
}

fn lifetime(lease: Lease) -> String {
    let renewable = if lease.renewable { ", renewable" } else { "" };
    match lease.ttl {
        Some(ttl) => format!("expires in {}{renewable}", rounded(ttl)),
        None => "never expires".to_owned(),
    }
}

/// Revokes a token that comes from the login of this check, which began at `began`. A caching Vault
/// Agent answers a login with the token of the running daemon, which is not ours to revoke.
pub(super) async fn log_out(
    client: &Client,
    settings: &Settings,
    token: &Token,
    began: Instant,
    report: &mut Report,
) {
    const NAME: &str = "token";
    if !settings.owns_token() {
        return;
    }
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    let info = client
        .describe_self(&settings.namespace, token, deadline)
        .await;
    if let Ok(info) = info
        && info
            .age
            .is_none_or(|age| age > began.elapsed() + ROUNDED_AGE)
    {
        report.warning(
            NAME,
            "it was issued before this check and is not revoked: does a caching Vault Agent or \
             Proxy answer the logins? let vault.address name Vault itself",
        );
        return;
    }
    let revoked = client
        .revoke_self(&settings.namespace, token, deadline)
        .await;
    if let Err(error) = revoked {
        let error = error.diagnosis();
        report.warning(NAME, error.about("it was not revoked, and expires later"));
    }
}
