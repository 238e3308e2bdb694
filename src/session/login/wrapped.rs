//! AppRole with a response-wrapped secret_id: the wrapping token is looked up first and unwrapped
//! once; the secret_id is stored before it is used, and a newer one replaces it only once that has
//! logged in.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::error::LoginError;
use crate::diagnosis::Diagnosis;
use crate::session::credentials::Credential;
use crate::session::secret_id_store::{self, StoredSecretIds};
use crate::telemetry::events;
use crate::vault::{CallError, Client, MountPath, Namespace, Token};

/// When a wrapping token is tried again that could not be looked up, while a stored secret_id
/// works.
pub(in crate::session) const DEFER_FOR: Duration = Duration::from_secs(60);

/// How long a login waits to store which of its secret_ids works.
const REPLACE_TIMEOUT: Duration = Duration::from_secs(2);

/// A secret_id that is delivered wrapped in one file and stored in another one.
#[derive(Debug, Clone)]
pub struct Wrapped {
    pub(super) file: Credential,
    pub(super) role: String,
    pub(super) creation_path: String,
    pub(super) store: PathBuf,
    /// The wrapping token that is not to be tried again while a stored secret_id works.
    deferred: Arc<Mutex<Option<DeferredToken>>>,
    /// Set from before a wrapping token is spent until its secret_id is stored.
    unwrapping: Arc<AtomicBool>,
}

#[derive(Debug)]
struct DeferredToken {
    token: Token,
    /// `None` if only another token can help.
    until: Option<Instant>,
}

/// Whether the file holds a wrapping token that was not tried yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum PendingToken {
    None,
    Ready,
    /// Not now; ask again after [`DEFER_FOR`].
    Deferred,
}

impl DeferredToken {
    fn holds_back(&self, token: &Token) -> bool {
        self.token.expose_secret() == token.expose_secret()
            && self.until.is_none_or(|until| Instant::now() < until)
    }
}

impl Wrapped {
    /// The secret_id of this role, wrapped in `file`, and stored in `store` once unwrapped.
    #[must_use]
    pub fn new(file: Credential, mount: &MountPath, role: String, store: PathBuf) -> Self {
        Self {
            creation_path: format!("auth/{}/role/{role}/secret-id", mount.as_str()),
            file,
            role,
            store,
            deferred: Arc::default(),
            unwrapping: Arc::default(),
        }
    }

    /// The file that holds the wrapping token.
    pub(in crate::session) fn file(&self) -> &Credential {
        &self.file
    }

    /// Whether the file holds a wrapping token that was not tried yet while a stored secret_id
    /// works. It expires soon, so a login should not wait for the end of the session.
    pub(in crate::session) async fn pending_token(&self) -> PendingToken {
        let Ok(token) = self.token().await else {
            return PendingToken::None;
        };
        let stored = secret_id_store::load(self.store.clone()).await;
        // Without a stored one the first login is in progress, perhaps with an earlier token.
        let stored = stored.ok().flatten().filter(|stored| self.is_ours(stored));
        let Some(stored) = stored else {
            return PendingToken::Deferred;
        };
        if stored.current.wrapping_token == token.expose_secret() {
            return PendingToken::None;
        }
        match self.deferred().as_ref() {
            Some(deferred) if deferred.holds_back(&token) => match deferred.until {
                Some(_) => PendingToken::Deferred,
                None => PendingToken::None,
            },
            _ => PendingToken::Ready,
        }
    }

    /// Describes the wrapping token or the stored secret_id without unwrapping anything.
    pub(in crate::session) async fn inspect(
        &self,
        client: &Client,
        namespace: &Namespace,
        deadline: Instant,
    ) -> Result<String, LoginError> {
        let stored = self.load().await?;
        let token = self.token().await;
        if let Some(stored) = &stored {
            let is_known = token
                .as_ref()
                .is_ok_and(|token| stored.current.wrapping_token == token.expose_secret());
            if is_known || token.is_err() {
                return Ok(format!(
                    "a secret_id of role {:?} was unwrapped before and is stored in {}",
                    self.role,
                    self.store.display()
                ));
            }
        }
        let found = client
            .wrapped_path(namespace, &token?, deadline)
            .await
            .map_err(|error| self.unusable(&error))?;
        if found.trim_matches('/') != self.creation_path {
            return Err(self.foreign(&found));
        }
        Ok(format!(
            "the wrapping token in {} holds a secret_id of role {:?}; it was looked up and not \
             unwrapped",
            self.file.origin(),
            self.role
        ))
    }

    pub(super) async fn token(&self) -> Result<Token, LoginError> {
        let text = self.file.read().await.map_err(LoginError::credential)?;
        Token::try_new(&text).map_err(|error| {
            let origin = self.file.origin();
            let cause = format!("{origin}: the wrapping token {error}");
            LoginError::credential(Diagnosis::new(cause))
        })
    }

    /// The stored secret_ids of this role. A damaged file counts as none.
    pub(super) async fn load(&self) -> Result<Option<StoredSecretIds>, LoginError> {
        match secret_id_store::load(self.store.clone()).await {
            Ok(stored) => Ok(stored.filter(|stored| self.is_ours(stored))),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                events::StoredSecretIdInvalid {
                    file: self.store.display().to_string(),
                    error: error.to_string(),
                }
                .emit();
                Ok(None)
            }
            Err(error) => Err(self.store_unusable("cannot be read", &error)),
        }
    }

    fn is_ours(&self, stored: &StoredSecretIds) -> bool {
        stored.current.creation_path == self.creation_path
    }

    /// Replaces the stored secret_ids `before`, unless another process has done that meanwhile. If
    /// it fails, the next start repeats the same work.
    pub(super) async fn replace(&self, wrapping_token: &str, stored: StoredSecretIds) {
        let written = async {
            let deadline = Instant::now() + REPLACE_TIMEOUT;
            let lock = secret_id_store::lock(&self.store, deadline).await?;
            let now = secret_id_store::load(self.store.clone()).await?;
            let is_same = |now: &StoredSecretIds| now.current.wrapping_token == wrapping_token;
            if lock.is_none() || !now.as_ref().is_none_or(is_same) {
                return Ok(());
            }
            let reserved = secret_id_store::reserve(self.store.clone()).await?;
            secret_id_store::save(reserved, stored).await
        };
        let written: io::Result<()> = written.await;
        if let Err(error) = written {
            events::StoredSecretIdNotWritten {
                file: self.store.display().to_string(),
                error: error.to_string(),
            }
            .emit();
        }
    }

    /// Excludes other processes from the stored secret_ids and from the wrapping token.
    pub(super) async fn lock(&self, deadline: Instant) -> Result<File, LoginError> {
        if let Some(uid) = secret_id_store::other_owner(&self.store) {
            let cause = format!(
                "state.dir: the directory of {} belongs to user {uid}, who could not read a \
                 secret_id that root stores there",
                self.store.display()
            );
            let remedy = format!("run this as that user: setpriv --reuid {uid} --clear-groups");
            return Err(LoginError::credential(
                Diagnosis::new(cause).with_remedy(remedy),
            ));
        }
        match secret_id_store::lock(&self.store, deadline).await {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => Err(LoginError::busy(Diagnosis::new(format!(
                "another process holds the lock of {}: it is unwrapping a secret_id",
                self.store.display()
            )))),
            Err(error) => Err(self.store_unusable("cannot be locked", &error)),
        }
    }

    /// Whether a wrapping token is being spent, and its secret_id is not stored yet.
    pub(in crate::session) fn is_unwrapping(&self) -> bool {
        self.unwrapping.load(Ordering::Relaxed)
    }

    pub(super) fn set_unwrapping(&self, is_unwrapping: bool) {
        self.unwrapping.store(is_unwrapping, Ordering::Relaxed);
    }

    pub(super) fn is_deferred(&self, token: &Token) -> bool {
        let deferred = self.deferred();
        deferred
            .as_ref()
            .is_some_and(|deferred| deferred.holds_back(token))
    }

    pub(super) fn defer(&self, token: Token, error: &LoginError) {
        let needs_another = error.class().is_rejected_credential();
        let until = (!needs_another).then(|| Instant::now() + DEFER_FOR);
        *self.deferred() = Some(DeferredToken { token, until });
    }

    fn deferred(&self) -> MutexGuard<'_, Option<DeferredToken>> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn store_unusable(&self, what: &str, error: &io::Error) -> LoginError {
        let cause = format!("state.dir: {} {what}: {error}", self.store.display());
        LoginError::credential(Diagnosis::new(cause).with_remedy(
            "let the plugin's user read and write the directory; nothing is unwrapped until the \
             secret_id can be stored there",
        ))
    }

    /// Vault does not unwrap the token. If it was valid once, that is an alarm.
    pub(super) fn unusable(&self, error: &CallError) -> LoginError {
        let origin = self.file.origin();
        if !error.is_spent_wrapping() {
            let advice =
                format!("check auth.namespace, and put a new wrapping token into {origin}");
            return LoginError::failed("approle", error, &advice);
        }
        let cause = format!("the wrapping token in {origin} is spent or expired");
        LoginError::untrusted_wrapping(Diagnosis::new(cause).with_remedy(format!(
            "if this plugin did not unwrap it, someone else has its secret_id: revoke that \
             secret_id of role {:?}, look for sys/wrapping/unwrap in Vault's audit log, and put a \
             new wrapping token into the file",
            self.role
        )))
    }

    /// The token wraps something else than the secret_id of this role.
    pub(super) fn foreign(&self, found: &str) -> LoginError {
        let cause = format!(
            "the wrapping token in {} was made by {found:?} and not by {:?}, so it was not unwrapped",
            self.file.origin(),
            self.creation_path
        );
        LoginError::untrusted_wrapping(Diagnosis::new(cause).with_remedy(
            "find out who put it there; correct auth.mount and auth.role, or put the right one \
             into the file",
        ))
    }
}

#[cfg(test)]
mod tests;
