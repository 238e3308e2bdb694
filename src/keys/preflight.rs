//! Verifies the KeyManager of a reload's candidate before it serves: a round trip, and that what
//! was encrypted until now can still be decrypted.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::error::{ErrorKind, KeyError};
use super::key_id::KeyId;
use super::message::{
    DecryptCall, DecryptTogether, EncryptCall, EncryptedSeed, KeyMsg, Pin, Reply,
};
use super::refresh::random_bytes;
use super::view::{Canary, KeyView};
use crate::telemetry::spans::Parent;
use crate::vault::Plaintext;

/// How much longer than its deadline an answer may take.
const GRACE: Duration = Duration::from_secs(1);

/// Encrypts and decrypts through `actor`, and decrypts the canary of `before`, if there is one: of the same key in the same
/// request, as a standby that lags may have a key that was deleted. `candidate` is what `actor` has found out.
/// `accepted` is the key_id of a replaced key that the operator accepts. Returns whether it was
/// accepted now: what was encrypted before is lost.
///
/// # Errors
/// What failed; at the deadline the reason why nothing was possible.
pub async fn verify(
    actor: &ActorRef<KeyMsg>,
    candidate: &watch::Receiver<KeyView>,
    before: &KeyView,
    accepted: Option<&str>,
    deadline: Instant,
) -> Result<bool, KeyError> {
    let seed = random_bytes()?;
    let plaintext = Arc::new(Plaintext::new(seed.to_vec()));
    let encrypted: EncryptedSeed = ask(actor, deadline, |reply| {
        KeyMsg::Encrypt(EncryptCall {
            plaintext,
            pin: Pin::Announced(None),
            deadline,
            parent: Parent::NOBODY,
            reply,
        })
    })
    .await?;
    let is_accepted = accepted == Some(encrypted.key_id.as_str());
    let known = before.canary.as_ref().zip(before.proven.as_ref());
    let same_key = known.filter(|(_, proven)| proven.key_id.is_of_same_key(&encrypted.key_id));
    // What was encrypted just now may be of another server than the proof of the version.
    let proof = candidate.borrow().canary.clone();
    let mut ciphertexts = vec![Arc::new(encrypted.ciphertext)];
    ciphertexts.extend(proof.as_ref().map(|canary| canary.ciphertext.clone()));
    ciphertexts.extend(same_key.map(|(canary, _)| canary.ciphertext.clone()));
    let decrypted = ask(actor, deadline, |reply| {
        KeyMsg::DecryptTogether(DecryptTogether {
            ciphertexts,
            deadline,
            reply,
        })
    })
    .await?;
    let mut decrypted = decrypted.into_iter();
    let missing = || Err(internal("a ciphertext has no outcome"));
    if decrypted.next().unwrap_or_else(missing)?.expose_secret() != seed {
        return Err(internal(
            "a round trip returned a different plaintext: do not use this key",
        ));
    }
    if proof.is_some() {
        decrypted.next().unwrap_or_else(missing)?;
    }
    let Some((canary, proven)) = known else {
        return Ok(false);
    };
    let decrypted = match decrypted.next() {
        Some(decrypted) => decrypted,
        // Of another key, which the candidate reads only.
        None => decrypt(actor, canary, &proven.key_id, deadline).await,
    };
    let decrypted = match decrypted {
        Ok(decrypted) => decrypted,
        Err(error) if is_accepted && error.says_replaced() => return Ok(true),
        Err(error) => return Err(error.of_earlier_data()),
    };
    if !canary.is_plaintext(decrypted.expose_secret()) {
        return Err(internal(
            "data encrypted until now decrypted to a different plaintext",
        ));
    }
    Ok(false)
}

async fn decrypt(
    actor: &ActorRef<KeyMsg>,
    canary: &Canary,
    key_id: &KeyId,
    deadline: Instant,
) -> Result<Plaintext, KeyError> {
    ask(actor, deadline, |reply| {
        KeyMsg::Decrypt(DecryptCall {
            ciphertext: canary.ciphertext.clone(),
            key_id: Some(key_id.to_string()),
            annotations: None,
            deadline,
            parent: Parent::NOBODY,
            reply,
        })
    })
    .await
}

async fn ask<T: Send + 'static>(
    actor: &ActorRef<KeyMsg>,
    deadline: Instant,
    message: impl FnOnce(Reply<T>) -> KeyMsg,
) -> Result<T, KeyError> {
    let (reply, answer) = oneshot::channel();
    let no_answer = || internal("the KeyManager did not answer");
    actor.cast(message(reply)).map_err(|_| no_answer())?;
    // It answers at the deadline at the latest, and then says why.
    match timeout_at(deadline + GRACE, answer).await {
        Ok(Ok(answer)) => answer,
        _ => Err(no_answer()),
    }
}

fn internal(text: &str) -> KeyError {
    KeyError::new(ErrorKind::Internal, text.to_owned())
}
