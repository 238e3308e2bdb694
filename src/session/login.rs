//! The ways to log in, and whether Vault can serve logins at all.

mod claims;
mod error;
mod methods;
mod settings;
pub mod spiffe;
mod wrapped;
mod wrapped_login;

use tokio::time::Instant;

use crate::vault::{Client, Grant};
pub use claims::Claims;
pub(super) use error::LoginError;
use methods::Attempt;
pub use settings::{AppRole, Cert, Jwt, JwtSource, Method, SecretId, Settings, Userpass};
pub use wrapped::Wrapped;
pub(super) use wrapped::{DEFER_FOR, PendingToken};

/// Whether Vault can serve logins. Where something denies the health paths nothing is known, so
/// Vault counts as ready: the login will show.
pub(super) async fn check_health(client: &Client, deadline: Instant) -> Result<(), LoginError> {
    let ready = client.find_ready(deadline).await;
    ready.map_err(LoginError::unavailable)
}

/// Logs in by the configured method.
pub(super) async fn login(
    client: &Client,
    settings: &Settings,
    deadline: Instant,
) -> Result<Grant, LoginError> {
    let attempt = Attempt {
        client,
        namespace: &settings.namespace,
        deadline,
    };
    let grant = match &settings.method {
        Method::Token(token) => attempt.by_token(token).await?,
        Method::Kubernetes(jwt) => attempt.by_kubernetes(jwt).await?,
        Method::Jwt(jwt) => attempt.by_jwt(jwt).await?,
        Method::AppRole(approle) => match &approle.secret_id {
            SecretId::None => attempt.by_approle(approle, None).await?,
            SecretId::Plain(secret_id) => attempt.by_approle(approle, Some(secret_id)).await?,
            SecretId::Wrapped(wrapped) => attempt.by_wrapped(approle, wrapped).await?,
        },
        Method::Userpass(userpass) => attempt.by_userpass(userpass).await?,
        Method::Cert(cert) => attempt.by_cert(cert).await?,
    };
    if grant.lease.num_uses > 0 {
        if settings.method.owns_token() {
            // Nothing else would revoke it, and the next attempt brings another one.
            let _ = client
                .revoke_self(&settings.namespace, &grant.token, deadline)
                .await;
        }
        return Err(LoginError::use_limited(
            grant.lease.num_uses,
            settings.method.owns_token(),
        ));
    }
    if grant.lease.ttl.is_some_and(|ttl| ttl.is_zero()) {
        return Err(LoginError::expiring());
    }
    Ok(grant)
}
