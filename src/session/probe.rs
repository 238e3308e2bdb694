//! The steps of a session one by one, as `check` takes them: what the daemon does, and its words for
//! what fails.

use tokio::time::Instant;

use super::login::{self, LoginError};
use super::{AppRole, Method, SecretId, Settings, Wrapped};
use crate::vault::{Client, Grant};

/// What failed, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// What failed.
    pub cause: String,
    /// What to do; empty where nobody can say.
    pub remedy: String,
}

/// What a login would use up.
#[derive(Debug, Clone, Copy)]
pub enum LoginCost<'a> {
    /// Nothing.
    Nothing,
    /// A use of the secret_id, if those are limited: only Vault knows.
    PerhapsAUse,
    /// The wrapping token, if its secret_id is not kept yet; and then a use of that one.
    Wrapping(&'a Wrapped),
}

impl Settings {
    /// What a login would use up.
    #[must_use]
    pub fn spends(&self) -> LoginCost<'_> {
        match &self.method {
            Method::AppRole(AppRole { secret_id, .. }) => match secret_id {
                SecretId::None => LoginCost::Nothing,
                SecretId::Plain(_) => LoginCost::PerhapsAUse,
                SecretId::Wrapped(wrapped) => LoginCost::Wrapping(wrapped),
            },
            _ => LoginCost::Nothing,
        }
    }

    /// Logs in as the daemon does.
    ///
    /// # Errors
    /// As [`Diagnosis`].
    pub async fn log_in(&self, client: &Client, deadline: Instant) -> Result<Grant, Diagnosis> {
        let grant = login::login(client, self, deadline).await;
        grant.map_err(Diagnosis::from)
    }

    /// Whether the token is the daemon's own, got by a login, or one that somebody else gave it.
    #[must_use]
    pub fn owns_its_token(&self) -> bool {
        self.method.owns_its_token()
    }

    /// Looks at a wrapping token without unwrapping it: what there is to say of it.
    ///
    /// # Errors
    /// As [`Diagnosis`].
    pub async fn look_at(
        &self,
        wrapped: &Wrapped,
        client: &Client,
        deadline: Instant,
    ) -> Result<String, Diagnosis> {
        let looked = wrapped.look(client, &self.namespace, deadline).await;
        looked.map_err(Diagnosis::from)
    }
}

/// Whether Vault can be logged into.
///
/// # Errors
/// As [`Diagnosis`].
pub async fn reach(client: &Client, deadline: Instant) -> Result<(), Diagnosis> {
    login::reach(client, deadline)
        .await
        .map_err(Diagnosis::from)
}

impl Diagnosis {
    /// Takes a text apart that says after `between` what to do.
    #[must_use]
    pub fn split(text: &str, between: &str) -> Self {
        let (cause, remedy) = text.rsplit_once(between).unwrap_or((text, ""));
        Self {
            cause: cause.to_owned(),
            remedy: remedy.to_owned(),
        }
    }
}

impl From<LoginError> for Diagnosis {
    fn from(error: LoginError) -> Self {
        let text = error.to_string();
        match error {
            LoginError::Failed {
                method,
                cause,
                remedy,
            } => Self {
                cause: format!("login by {method} failed: {cause}"),
                remedy: remedy.trim_start_matches("; ").to_owned(),
            },
            LoginError::Wrapping(_) => {
                let (cause, remedy) = text.split_once(": ").unwrap_or((&text, ""));
                Self {
                    cause: cause.to_owned(),
                    remedy: remedy.to_owned(),
                }
            }
            LoginError::Away(_) | LoginError::Ended | LoginError::Counted(_) => {
                Self::split(&text, ": ")
            }
            LoginError::Credential(_) => Self::split(&text, "; "),
            LoginError::Spiffe(_) if text.contains("; ") => Self::split(&text, "; "),
            LoginError::Spiffe(_) => Self::split(&text, "): "),
        }
    }
}
