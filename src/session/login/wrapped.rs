//! AppRole with a response-wrapped secret_id: looked at first, unwrapped once, kept before it is
//! used, and replaced by a newer one only when that one works.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::super::credentials::Credential;
use super::super::kept::{self, Kept, Unwrapped};
use super::AppRole;
use super::error::LoginError;
use super::methods::{Attempt, failed, read};
use crate::telemetry::events;
use crate::vault::{CallError, Client, Grant, MountPath, Namespace, Token};

/// An answer that comes later than this is lost, and the secret_id with it: longer than a login.
const UNWRAP_LIMIT: Duration = Duration::from_secs(30);
/// When a wrapping token that could not be looked at is looked at again, while a kept secret_id
/// serves.
pub(in crate::session) const ASIDE: Duration = Duration::from_secs(60);

/// A secret_id that comes wrapped in a file and is kept in another one.
#[derive(Debug, Clone)]
pub struct Wrapped {
    file: Credential,
    role: String,
    creation_path: String,
    kept: PathBuf,
    /// The wrapping token that is not to be tried again while a kept secret_id serves.
    aside: Arc<Mutex<Option<Aside>>>,
}

#[derive(Debug)]
struct Aside {
    token: Token,
    /// Unset where only another token can help.
    until: Option<Instant>,
}

/// Whether a wrapping token came that nobody has tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum News {
    None,
    Now,
    /// Not now; ask again in a while.
    Later,
}

impl Aside {
    fn holds_back(&self, token: &Token) -> bool {
        self.token.expose_secret() == token.expose_secret()
            && self.until.is_none_or(|until| Instant::now() < until)
    }
}

impl Wrapped {
    /// The secret_id of this role, wrapped in `file`, and kept in `kept` once unwrapped.
    #[must_use]
    pub fn new(file: Credential, mount: &MountPath, role: String, kept: PathBuf) -> Self {
        Self {
            creation_path: format!("auth/{}/role/{role}/secret-id", mount.as_str()),
            file,
            role,
            kept,
            aside: Arc::default(),
        }
    }

    /// The file that holds the wrapping token.
    pub(in crate::session) fn file(&self) -> &Credential {
        &self.file
    }

    /// Whether a wrapping token stands in the file that nobody has tried, beside a secret_id that
    /// serves meanwhile. It does not live long, so a login should not wait for the session's end.
    pub(in crate::session) async fn news(&self) -> News {
        let Ok(token) = self.token().await else {
            return News::None;
        };
        let kept = kept::load(self.kept.clone()).await.ok().flatten();
        // Without one the first login is under way, perhaps with the token that stood there before.
        let Some(kept) = kept.filter(|kept| self.is_ours(kept)) else {
            return News::Later;
        };
        if kept.newest.wrapping_token == token.expose_secret() {
            return News::None;
        }
        match self.aside().as_ref() {
            Some(aside) if aside.holds_back(&token) && aside.until.is_some() => News::Later,
            Some(aside) if aside.holds_back(&token) => News::None,
            _ => News::Now,
        }
    }

    /// What there is to say of what is here, without unwrapping anything.
    pub(in crate::session) async fn look(
        &self,
        client: &Client,
        namespace: &Namespace,
        deadline: Instant,
    ) -> Result<String, LoginError> {
        let (kept, token) = (self.load().await?, self.token().await);
        let origin = self.file.origin();
        let token = match (&kept, token) {
            (Some(_), Err(_)) => return Ok(self.is_kept()),
            (Some(kept), Ok(token)) if kept.newest.wrapping_token == token.expose_secret() => {
                return Ok(self.is_kept());
            }
            (_, token) => token?,
        };
        let found = client.wrapped_path(namespace, &token, deadline).await;
        let found = found.map_err(|cause| self.unusable(cause))?;
        match found.trim_matches('/') == self.creation_path {
            true => Ok(format!(
                "the wrapping token in {origin} holds a secret_id of role {:?}; it was looked up and \
                 not unwrapped",
                self.role
            )),
            false => Err(self.foreign(&found)),
        }
    }

    fn is_kept(&self) -> String {
        let place = self.kept.display();
        format!(
            "a secret_id of role {:?} was unwrapped before and is kept in {place}",
            self.role
        )
    }

    async fn token(&self) -> Result<Token, LoginError> {
        let text = read(&self.file).await?;
        Token::try_new(&text).map_err(|error| {
            let origin = self.file.origin();
            LoginError::Credential(format!("{origin}: the wrapping token {error}"))
        })
    }

    /// What is kept for this very role. A damaged file is as good as none.
    async fn load(&self) -> Result<Option<Kept>, LoginError> {
        match kept::load(self.kept.clone()).await {
            Ok(kept) => Ok(kept.filter(|kept| self.is_ours(kept))),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                events::StoredSecretIdInvalid {
                    file: self.kept.display().to_string(),
                    error: error.to_string(),
                }
                .emit();
                Ok(None)
            }
            Err(error) => Err(self.not_kept("cannot be read", &error)),
        }
    }

    fn is_ours(&self, kept: &Kept) -> bool {
        kept.newest.creation_path == self.creation_path
    }

    /// Replaces what is kept. Without it a restart would do the same work again.
    async fn replace(&self, kept: Kept) {
        let written = match kept::reserve(self.kept.clone()).await {
            Ok(place) => kept::save(place, kept).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            events::StoredSecretIdNotWritten {
                file: self.kept.display().to_string(),
                error: error.to_string(),
            }
            .emit();
        }
    }

    fn is_aside(&self, token: &Token) -> bool {
        let aside = self.aside();
        aside.as_ref().is_some_and(|aside| aside.holds_back(token))
    }

    fn put_aside(&self, token: Token, error: &LoginError) {
        let until = (!error.is_refused_credential()).then(|| Instant::now() + ASIDE);
        *self.aside() = Some(Aside { token, until });
    }

    fn aside(&self) -> MutexGuard<'_, Option<Aside>> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_kept(&self, what: &str, error: &io::Error) -> LoginError {
        LoginError::Credential(format!(
            "state.dir: {} {what}: {error}; nothing is unwrapped until the secret_id can be kept there: \
             let the plugin's user read and write the directory",
            self.kept.display()
        ))
    }

    /// Vault does not unwrap it. A token that was good once is an alarm.
    fn unusable(&self, cause: CallError) -> LoginError {
        let origin = self.file.origin();
        if cause.is_spent_wrapping() {
            return LoginError::Wrapping(format!(
                "the wrapping token in {origin} is spent or expired: if this plugin did not unwrap it, someone \
                 else has its secret_id: revoke that secret_id of role {:?}, look for sys/wrapping/unwrap in \
                 vault's audit log, and put a new wrapping token into the file",
                self.role
            ));
        }
        let advice = format!("check auth.namespace, and put a new wrapping token into {origin}");
        failed("approle", cause, &advice)
    }

    fn foreign(&self, found: &str) -> LoginError {
        LoginError::Wrapping(format!(
            "the wrapping token in {} was made by {found:?} and not by {:?}, so it was not unwrapped: find out who \
             put it there; correct auth.mount and auth.role, or put the right one into the file",
            self.file.origin(),
            self.creation_path
        ))
    }

    /// What an operator does about a secret_id that is refused.
    fn advice(&self, approle: &AppRole) -> String {
        format!(
            "check auth.mount {:?} and the role_id in {}, and put a new wrapping token into {} \
             (a secret_id ends with its TTL and its uses)",
            approle.mount.as_str(),
            approle.role_id.origin(),
            self.file.origin()
        )
    }
}

impl Attempt<'_> {
    /// Logs in with the newest secret_id, and with the one before where that is refused.
    pub(super) async fn by_wrapped(
        &self,
        approle: &AppRole,
        wrapped: &Wrapped,
    ) -> Result<Grant, LoginError> {
        let Kept { newest, before } = self.secret_ids(wrapped).await?;
        let advice = wrapped.advice(approle);
        let login = async |secret: &Unwrapped| {
            self.with_secret_id(approle, Some(&secret.secret_id), &advice)
                .await
        };
        match (login(&newest).await, before) {
            (Ok(grant), Some(_)) => {
                events::SecretIdWorks {}.emit();
                wrapped
                    .replace(Kept {
                        newest,
                        before: None,
                    })
                    .await;
                Ok(grant)
            }
            (Err(error), Some(mut before)) if error.is_refused_credential() => {
                let grant = login(&before).await?;
                events::SecretIdRefused {
                    error: error.to_string(),
                }
                .emit();
                // The new token is noted as seen, or it would be taken for news again.
                before.wrapping_token.clone_from(&newest.wrapping_token);
                wrapped
                    .replace(Kept {
                        newest: before,
                        before: None,
                    })
                    .await;
                Ok(grant)
            }
            (outcome, _) => outcome,
        }
    }

    /// What to log in with: what is kept, after a token that is news was unwrapped.
    async fn secret_ids(&self, wrapped: &Wrapped) -> Result<Kept, LoginError> {
        let Some(kept) = wrapped.load().await? else {
            let token = wrapped.token().await?;
            return self.unwrap_noted(wrapped, &token, None).await;
        };
        // Once its secret_id is kept, the token may as well be deleted.
        let Ok(token) = wrapped.token().await else {
            return Ok(kept);
        };
        let known = kept.newest.wrapping_token == token.expose_secret();
        if known || wrapped.is_aside(&token) {
            return Ok(kept);
        }
        // One that never worked gives way, the one that did stays.
        let before = kept.before.as_ref().unwrap_or(&kept.newest).clone();
        match self.unwrap_noted(wrapped, &token, Some(before)).await {
            Ok(newer) => Ok(newer),
            Err(error) => {
                events::StoredSecretIdUsed {
                    error: error.to_string(),
                }
                .emit();
                wrapped.put_aside(token, &error);
                Ok(kept)
            }
        }
    }

    /// Unwraps; a token that cannot be trusted is an alarm, whatever follows.
    async fn unwrap_noted(
        &self,
        wrapped: &Wrapped,
        token: &Token,
        before: Option<Unwrapped>,
    ) -> Result<Kept, LoginError> {
        let unwrapped = self.unwrap(wrapped, token, before).await;
        if let Err(error @ LoginError::Wrapping(_)) = &unwrapped {
            events::WrappingNotTrusted {
                role: wrapped.role.to_owned(),
                error: error.to_string(),
            }
            .emit();
        }
        unwrapped
    }

    async fn unwrap(
        &self,
        wrapped: &Wrapped,
        token: &Token,
        before: Option<Unwrapped>,
    ) -> Result<Kept, LoginError> {
        let place = kept::reserve(wrapped.kept.clone())
            .await
            .map_err(|error| wrapped.not_kept("cannot be written", &error))?;
        let found = self
            .client
            .wrapped_path(self.namespace, token, self.deadline)
            .await
            .map_err(|cause| wrapped.unusable(cause))?;
        if found.trim_matches('/') != wrapped.creation_path {
            return Err(wrapped.foreign(&found));
        }
        let secret_id = self
            .client
            .unwrap_secret_id(self.namespace, token, Instant::now() + UNWRAP_LIMIT)
            .await
            .map_err(|cause| wrapped.unusable(cause))?;
        let newest = Unwrapped {
            secret_id: secret_id.as_str().to_owned(),
            wrapping_token: token.expose_secret().to_owned(),
            creation_path: wrapped.creation_path.clone(),
        };
        let file = wrapped.kept.display().to_string();
        events::SecretIdUnwrapped { file: file.clone() }.emit();
        let kept = Kept { newest, before };
        if let Err(error) = kept::save(place, kept.clone()).await {
            let error = error.to_string();
            events::SecretIdNotStored { file, error }.emit();
        }
        Ok(kept)
    }
}
