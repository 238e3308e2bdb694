//! The calls to Vault that a refresh consists of.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::effect::Call;
use super::event::{CallOutcome, Proof, RefreshEvent};
use crate::batch::{RetryPolicy, call_with_retries};
use crate::keys::error::{ErrorKind, KeyError};
use crate::keys::operations::Operations;
use crate::keys::view::Canary;
use crate::session::Session;
use crate::sha256::sha256;
use crate::telemetry::spans::Parent;
use crate::vault::{
    CallError, Ciphertext, KeyInfo, Plaintext, ToDecrypt, TransitKey, VersionStamp,
};

/// How long one request of a refresh may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The same for the first Decrypt of an imported key. Vault 1.21 crashes on it, and logs the crash,
/// where the private half is missing: that is not to be repeated for long.
const IMPORTED_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes a call of the refresh.
pub(in crate::keys) async fn call(operations: &Operations, call: Call) -> RefreshEvent {
    let outcome = match call {
        Call::ReadKey => CallOutcome::key_read(read_key(operations).await),
        Call::DecryptCanary(canary) => {
            CallOutcome::canary_decrypted(decrypt(operations, &canary, CALL_TIMEOUT).await)
        }
        Call::Prove {
            stamp,
            imported,
            before,
        } => CallOutcome::proved(prove(operations, stamp, imported, before).await),
    };
    RefreshEvent::Ended(outcome)
}

/// Waits for a session without a deadline: however long Vault is away, no refresh fails for that.
async fn read_key(operations: &Operations) -> Result<KeyInfo, KeyError> {
    operations.sessions.wait_long().await;
    let deadline = Instant::now() + CALL_TIMEOUT;
    let info = operations.read_key(&operations.key, deadline).await?;
    match info.unfit {
        Some(unfit) => Err(KeyError::unfit(
            &operations.key,
            unfit.cause,
            Some(unfit.remedy),
        )),
        None => Ok(info),
    }
}

/// Makes a canary with this version, and decrypts it together with the one from before.
async fn prove(
    operations: &Operations,
    stamp: VersionStamp,
    imported: bool,
    before: Option<Canary>,
) -> Result<Proof, KeyError> {
    let plaintext = random_bytes()?;
    let secret = Arc::new(Plaintext::new(plaintext.to_vec()));
    let deadline = Instant::now() + CALL_TIMEOUT;
    let version = Some(stamp.version);
    let encrypted = operations
        .encrypt(&secret, version, deadline, Parent::NOBODY)
        .await?;
    let canary = Canary {
        digest: sha256(&plaintext),
        ciphertext: Arc::new(encrypted.ciphertext),
        stamp,
        was_refused: false,
    };
    let timeout = if imported {
        IMPORTED_TIMEOUT
    } else {
        CALL_TIMEOUT
    };
    let canaries: Vec<_> = [&canary].into_iter().chain(&before).collect();
    let ciphertexts: Vec<_> = canaries.iter().map(|it| &*it.ciphertext).collect();
    let deadline = Instant::now() + timeout;
    let explained = |error: KeyError| error.after_encrypt(&operations.key, imported);
    let decrypted = decrypt_together(operations, &ciphertexts, deadline).await;
    let decrypted = decrypted.map_err(explained)?;
    let pairs = canaries.iter().zip(decrypted);
    let check = |(canary, plaintext): (&&Canary, Result<Plaintext, KeyError>)| {
        checked(&operations.key, canary, &plaintext?)
    };
    let mut outcomes = pairs.map(check);
    outcomes.next().unwrap_or(Ok(())).map_err(explained)?;
    let before = outcomes.next().unwrap_or(Ok(()));
    drop(outcomes);
    Ok(Proof { canary, before })
}

/// Decrypts ciphertexts of the writing key in one request, so that one server answers with one state of the key. Returns
/// the outcome of each.
pub(in crate::keys) async fn decrypt_together(
    operations: &Operations,
    ciphertexts: &[&Ciphertext],
    deadline: Instant,
) -> Result<Vec<Result<Plaintext, KeyError>>, KeyError> {
    let key = &operations.key;
    let items = ciphertexts.iter().map(|ciphertext| ToDecrypt {
        ciphertext,
        associated_data: None,
    });
    let items: Vec<_> = items.collect();
    let call = async |session: Arc<Session>| {
        let token = &session.token;
        operations
            .client
            .decrypt(key, &items, token, deadline)
            .await
    };
    let outcomes = call_with_retries(&operations.sessions, deadline, call).await;
    let outcomes = outcomes.map_err(|error| KeyError::of_batch(key, error))?;
    let explained = |error: CallError| KeyError::of_call(key, &error);
    Ok(outcomes
        .into_iter()
        .map(|outcome| outcome.map_err(explained))
        .collect())
}

async fn decrypt(
    operations: &Operations,
    canary: &Canary,
    timeout: Duration,
) -> Result<(), KeyError> {
    let deadline = Instant::now() + timeout;
    let (key, policy) = (&operations.key, RetryPolicy::Transient);
    let plaintext = operations
        .decrypt(key, &canary.ciphertext, policy, deadline, Parent::NOBODY)
        .await?;
    checked(key, canary, &plaintext)
}

fn checked(key: &TransitKey, canary: &Canary, plaintext: &Plaintext) -> Result<(), KeyError> {
    if canary.is_plaintext(plaintext.expose_secret()) {
        return Ok(());
    }
    Err(KeyError::unfit(
        key,
        "the canary decrypted to a different plaintext",
        None,
    ))
}

/// Random bytes for a plaintext.
///
/// # Errors
/// When the system has none.
pub(in crate::keys) fn random_bytes() -> Result<[u8; 32], KeyError> {
    let mut bytes = [0; 32];
    random_into(&mut bytes)?;
    Ok(bytes)
}

/// The same, where they are to be.
///
/// # Errors
/// When the system has none.
pub(in crate::keys) fn random_into(bytes: &mut [u8]) -> Result<(), KeyError> {
    getrandom::fill(bytes)
        .map_err(|error| KeyError::new(ErrorKind::Internal, format!("no random bytes: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_are_others_each_time() {
        let made: std::collections::BTreeSet<_> =
            (0..100).map(|_| random_bytes().expect("bytes")).collect();
        assert_eq!(made.len(), 100);
    }
}
