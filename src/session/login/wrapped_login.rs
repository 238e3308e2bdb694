//! The login with a wrapped secret_id: unwraps a new wrapping token, stores the secret_id, and logs
//! in with it.

use std::time::Duration;

use tokio::time::Instant;

use super::error::{LoginError, LoginErrorClass};
use super::methods::Attempt;
use super::settings::AppRole;
use super::wrapped::Wrapped;
use crate::session::secret_id_store::{self, SecretIdRecord, StoredSecretIds};
use crate::telemetry::events;
use crate::vault::{Grant, Token};

/// A response that comes later is lost, and the secret_id with it: longer than a login.
const UNWRAP_TIMEOUT: Duration = Duration::from_secs(30);

impl Attempt<'_> {
    /// Logs in with the current secret_id, or with the previous one if the current one is rejected.
    pub(super) async fn by_wrapped(
        &self,
        approle: &AppRole,
        wrapped: &Wrapped,
    ) -> Result<Grant, LoginError> {
        let StoredSecretIds { current, previous } = self.secret_ids(wrapped).await?;
        let advice = advice(wrapped, approle);
        let login = async |record: &SecretIdRecord| {
            self.with_secret_id(approle, Some(&record.secret_id), &advice)
                .await
        };
        let newest = current.wrapping_token.clone();
        match (login(&current).await, previous) {
            (Ok(grant), Some(_)) => {
                events::SecretIdWorks {}.emit();
                let stored = StoredSecretIds {
                    current,
                    previous: None,
                };
                wrapped.replace(&newest, stored).await;
                Ok(grant)
            }
            (Err(error), Some(mut previous)) if error.class().is_rejected_credential() => {
                let grant = login(&previous).await?;
                events::SecretIdRefused {
                    error: error.to_string(),
                }
                .emit();
                // The new token is recorded as used, or it would be tried again.
                previous.wrapping_token.clone_from(&current.wrapping_token);
                let stored = StoredSecretIds {
                    current: previous,
                    previous: None,
                };
                wrapped.replace(&newest, stored).await;
                Ok(grant)
            }
            (outcome, _) => outcome,
        }
    }

    /// The secret_ids to log in with: the stored ones, after a new wrapping token was unwrapped.
    async fn secret_ids(&self, wrapped: &Wrapped) -> Result<StoredSecretIds, LoginError> {
        let Some(stored) = wrapped.load().await? else {
            let token = wrapped.token().await?;
            return self.unwrap_logged(wrapped, &token).await;
        };
        // Once its secret_id is stored, the token may be deleted.
        let Ok(token) = wrapped.token().await else {
            return Ok(stored);
        };
        let is_known = stored.current.wrapping_token == token.expose_secret();
        if is_known || wrapped.is_deferred(&token) {
            return Ok(stored);
        }
        match self.unwrap_logged(wrapped, &token).await {
            Ok(newer) => Ok(newer),
            Err(error) => {
                events::StoredSecretIdUsed {
                    error: error.to_string(),
                }
                .emit();
                wrapped.defer(token, &error);
                Ok(stored)
            }
        }
    }

    /// Unwraps; a token that cannot be trusted is logged as an alarm, whatever follows.
    async fn unwrap_logged(
        &self,
        wrapped: &Wrapped,
        token: &Token,
    ) -> Result<StoredSecretIds, LoginError> {
        let unwrapped = self.unwrap_once(wrapped, token).await;
        if let Err(error) = &unwrapped
            && error.class() == LoginErrorClass::UntrustedWrapping
        {
            events::WrappingNotTrusted {
                role: wrapped.role.to_owned(),
                error: error.to_string(),
            }
            .emit();
        }
        unwrapped
    }

    /// Unwraps, unless another process has unwrapped the same token meanwhile.
    async fn unwrap_once(
        &self,
        wrapped: &Wrapped,
        token: &Token,
    ) -> Result<StoredSecretIds, LoginError> {
        let _lock = wrapped.lock(self.deadline).await?;
        let stored = wrapped.load().await?;
        let working = match stored {
            Some(stored) if stored.current.wrapping_token == token.expose_secret() => {
                return Ok(stored);
            }
            // Of two stored secret_ids the previous one is the one that has worked.
            Some(StoredSecretIds { current, previous }) => Some(previous.unwrap_or(current)),
            None => None,
        };
        wrapped.set_unwrapping(true);
        let unwrapped = self.unwrap(wrapped, token, working).await;
        wrapped.set_unwrapping(false);
        unwrapped
    }

    async fn unwrap(
        &self,
        wrapped: &Wrapped,
        token: &Token,
        previous: Option<SecretIdRecord>,
    ) -> Result<StoredSecretIds, LoginError> {
        let reserved = secret_id_store::reserve(wrapped.store.clone())
            .await
            .map_err(|error| wrapped.store_unusable("cannot be written", &error))?;
        let found = self
            .client
            .wrapped_path(self.namespace, token, self.deadline)
            .await
            .map_err(|error| wrapped.unusable(&error))?;
        if found.trim_matches('/') != wrapped.creation_path {
            return Err(wrapped.foreign(&found));
        }
        let secret_id = self
            .client
            .unwrap_secret_id(self.namespace, token, Instant::now() + UNWRAP_TIMEOUT)
            .await
            .map_err(|error| wrapped.unusable(&error))?;
        let current = SecretIdRecord {
            secret_id: secret_id.as_str().to_owned(),
            wrapping_token: token.expose_secret().to_owned(),
            creation_path: wrapped.creation_path.clone(),
        };
        let file = wrapped.store.display().to_string();
        events::SecretIdUnwrapped { file: file.clone() }.emit();
        let stored = StoredSecretIds { current, previous };
        if let Err(error) = secret_id_store::save(reserved, stored.clone()).await {
            let error = error.to_string();
            events::SecretIdNotStored { file, error }.emit();
        }
        Ok(stored)
    }
}

/// What an operator does about a rejected secret_id.
fn advice(wrapped: &Wrapped, approle: &AppRole) -> String {
    format!(
        "check auth.mount {:?} and the role_id in {}, and put a new wrapping token into {} \
             (a secret_id ends with its TTL and its uses)",
        approle.mount.as_str(),
        approle.role_id.origin(),
        wrapped.file.origin()
    )
}
