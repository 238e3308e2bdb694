//! The steps of a session one by one, for `check`: what the daemon does, with the daemon's errors.

use tokio::time::Instant;

use super::login::{self, AppRole, Claims, JwtSource, Method, SecretId, Settings, Wrapped};
use crate::diagnosis::Diagnosis;
use crate::vault::{Client, Grant};

/// What a login would use up.
#[derive(Debug, Clone, Copy)]
pub enum LoginCost<'a> {
    /// Nothing.
    Nothing,
    /// A use of the secret_id, if its uses are limited: only Vault knows.
    PerhapsAUse,
    /// One of the attempts before a lockout of the user, if the password is wrong.
    PerhapsAnAttempt,
    /// The wrapping token, if its secret_id is not stored yet; and then a use of the secret_id.
    Wrapping(&'a Wrapped),
}

impl Settings {
    /// What a login would use up.
    #[must_use]
    pub fn login_cost(&self) -> LoginCost<'_> {
        match &self.method {
            Method::AppRole(AppRole { secret_id, .. }) => match secret_id {
                SecretId::None => LoginCost::Nothing,
                SecretId::Plain(_) => LoginCost::PerhapsAUse,
                SecretId::Wrapped(wrapped) => LoginCost::Wrapping(wrapped),
            },
            Method::Userpass(_) => LoginCost::PerhapsAnAttempt,
            _ => LoginCost::Nothing,
        }
    }

    /// Logs in as the daemon does.
    ///
    /// # Errors
    /// With the daemon's text.
    pub async fn log_in(&self, client: &Client, deadline: Instant) -> Result<Grant, Diagnosis> {
        let grant = login::login(client, self, deadline).await;
        grant.map_err(Diagnosis::from)
    }

    /// Where the JWT of a login is read from, if that is a file or the configuration, and its claims if it is
    /// a JWT.
    pub async fn inspect_jwt(&self) -> Option<Result<(String, Option<Claims>), Diagnosis>> {
        let (Method::Kubernetes(jwt) | Method::Jwt(jwt)) = &self.method else {
            return None;
        };
        let JwtSource::File(file) = &jwt.source else {
            return None;
        };
        let text = file.read().await;
        Some(text.map(|text| (file.origin(), Claims::of(&text))))
    }

    /// Whether the token comes from a login of the plugin's own, so that it may be revoked.
    #[must_use]
    pub fn owns_token(&self) -> bool {
        self.method.owns_token()
    }

    /// Describes a wrapping token, or the secret_id stored from it, without unwrapping anything.
    ///
    /// # Errors
    /// With the daemon's text.
    pub async fn inspect_wrapping_token(
        &self,
        wrapped: &Wrapped,
        client: &Client,
        deadline: Instant,
    ) -> Result<String, Diagnosis> {
        let description = wrapped.inspect(client, &self.namespace, deadline).await;
        description.map_err(Diagnosis::from)
    }
}

/// Whether Vault can serve logins.
///
/// # Errors
/// With the daemon's text.
pub async fn check_health(client: &Client, deadline: Instant) -> Result<(), Diagnosis> {
    login::check_health(client, deadline)
        .await
        .map_err(Diagnosis::from)
}
