//! Encrypt and Decrypt for kube-apiserver: the version, the route, the checks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::caller::Caller;
use super::error::{ErrorKind, KeyError};
use super::key_id::KeyId;
use super::look;
use super::manager::{Unwrap, Wrap};
use super::status;
use super::view::{KeyView, ProvenKey};
use crate::vault::{ApiErrorKind, Ciphertext, Encrypted, KeyVersion, Plaintext, TransitKey};

/// How long a standby that lags is given before it is asked again.
const LAG_REPEAT: Duration = Duration::from_millis(100);

/// A wrapped seed and the key_id that it was wrapped under.
#[derive(Debug)]
pub struct Wrapped {
    /// Transit's ciphertext.
    pub ciphertext: Ciphertext,
    /// The announced key_id; under KMS v1 nobody asks for it.
    pub key_id: KeyId,
}

/// Waits for a version to write with: at once in a running daemon, else until the first proof.
///
/// # Errors
/// With the verdict as soon as there is one, or at the deadline with the reason.
pub(super) async fn pinned(
    caller: &Caller,
    view: &watch::Sender<KeyView>,
    deadline: Instant,
) -> Result<ProvenKey, KeyError> {
    let mut view = view.subscribe();
    let ready = |view: &KeyView| view.pinned().is_some() || view.verdict().is_some();
    let outcome = timeout_at(deadline, view.wait_for(ready)).await;
    if let Ok(Ok(view)) = &outcome
        && let Some(pinned) = view.pinned()
    {
        return Ok(pinned.clone());
    }
    drop(outcome);
    let known = view.borrow().clone();
    Err(status::reason(&known, &caller.sessions.view()))
}

/// Wraps with the key, with this version if given.
pub(super) async fn encrypt(
    caller: &Caller,
    key: &Arc<TransitKey>,
    plaintext: &Arc<Plaintext>,
    version: Option<KeyVersion>,
    deadline: Instant,
) -> Result<Encrypted, KeyError> {
    let plaintext = plaintext.clone();
    let load = Wrap { plaintext, version };
    let outcome = outlast_lag(deadline, || caller.share(key, deadline, load.clone())).await;
    outcome.map_err(|error| error.or_too_old_to_write(version))
}

/// Wraps with the key's latest version, for KMS v1, which knows no key_id and so no other way to
/// follow a rotation. A version later than the proven one has to give the seed back first: what
/// etcd holds of it nobody asks for until it is needed. Tells which version was the latest.
pub(super) async fn encrypt_latest(
    caller: &Caller,
    key: &Arc<TransitKey>,
    plaintext: &Arc<Plaintext>,
    proven: KeyVersion,
    deadline: Instant,
) -> Result<(Encrypted, KeyVersion), KeyError> {
    let done = encrypt(caller, key, plaintext, None, deadline).await?;
    let latest = done.version;
    if latest <= proven {
        return Ok((done, latest));
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let halfway = Instant::now() + left / 2;
    let made = Arc::new(done.ciphertext.clone());
    let back = decrypt_with(caller, key, &made, halfway).await;
    if back.is_ok_and(|back| back.expose_secret() == plaintext.expose_secret()) {
        return Ok((done, latest));
    }
    let done = encrypt(caller, key, plaintext, Some(proven), deadline).await?;
    Ok((done, latest))
}

/// Unwraps with the key that the key_id names, or with each in turn where it names none of ours.
pub(super) async fn decrypt(
    caller: &Caller,
    keys: &[Arc<TransitKey>],
    ciphertext: &Arc<Ciphertext>,
    key_id: Option<&str>,
    deadline: Instant,
) -> Result<Plaintext, KeyError> {
    let named = keys
        .iter()
        .find(|key| key_id.is_some_and(|key_id| KeyId::names(key_id, key)));
    let candidates = named.map_or(keys, std::slice::from_ref);
    let outcome = outlast_lag(deadline, || async {
        let mut worst: Option<KeyError> = None;
        for key in candidates {
            match decrypt_with(caller, key, ciphertext, deadline).await {
                Ok(plaintext) => return Ok(plaintext),
                Err(error) => {
                    let error = explained(caller, key, ciphertext, deadline, error).await;
                    worst = Some(graver(worst, error));
                }
            }
        }
        Err(worst.unwrap_or_else(|| KeyError::new(ErrorKind::Internal, "no key is configured")))
    })
    .await;
    match named {
        Some(_) => outcome,
        None => outcome.map_err(|error| error.by_none_of_ours(key_id)),
    }
}

/// Repeats, until the deadline, what a lagging standby refused: it catches up by itself.
async fn outlast_lag<T, F, C>(deadline: Instant, operation: F) -> Result<T, KeyError>
where
    F: Fn() -> C,
    C: Future<Output = Result<T, KeyError>>,
{
    loop {
        let outcome = operation().await;
        let lags =
            matches!(&outcome, Err(error) if error.refusal == Some(ApiErrorKind::VersionTooNew));
        if !lags || Instant::now() + LAG_REPEAT >= deadline {
            return outcome;
        }
        sleep(LAG_REPEAT).await;
    }
}

/// Unwraps with this key.
pub(super) async fn decrypt_with(
    caller: &Caller,
    key: &Arc<TransitKey>,
    ciphertext: &Arc<Ciphertext>,
    deadline: Instant,
) -> Result<Plaintext, KeyError> {
    let load = Unwrap(ciphertext.clone());
    caller.share(key, deadline, load).await
}

/// Vault says «too old» without the limit: what an operator needs is asked for.
async fn explained(
    caller: &Caller,
    key: &Arc<TransitKey>,
    ciphertext: &Arc<Ciphertext>,
    deadline: Instant,
    error: KeyError,
) -> KeyError {
    if error.refusal != Some(ApiErrorKind::VersionTooOld) {
        return error;
    }
    // Boxed, because it is rare: each call would reserve room for it.
    let limit = Box::pin(look::least_decryptable(caller, key, deadline)).await;
    error.too_old_to_read(ciphertext.version(), limit)
}

/// Of two failed keys, the failure to report: «not made by this key» says least, lag says most.
fn graver(before: Option<KeyError>, now: KeyError) -> KeyError {
    match before {
        Some(before)
            if now.refusal == Some(ApiErrorKind::BadCiphertext)
                || before.refusal == Some(ApiErrorKind::VersionTooNew) =>
        {
            before
        }
        _ => now,
    }
}
