//! Tries a KeyManager before it takes over from another: a round trip, and what the other one wrote.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::crypt::Wrapped;
use super::error::{ErrorKind, KeyError};
use super::look::random_bytes;
use super::view::KeyView;
use super::{KeyMsg, Pin, Plaintext, Reply};
use crate::telemetry::spans::Parent;

/// How much longer than its deadline an answer may take.
const GRACE: Duration = Duration::from_secs(1);

/// Wraps and unwraps through `actor`, and unwraps the canary of `before`, if there is one.
///
/// # Errors
/// What failed; at the deadline the reason why nothing was possible.
pub async fn verify(
    actor: &ActorRef<KeyMsg>,
    before: &KeyView,
    deadline: Instant,
) -> Result<(), KeyError> {
    let seed = random_bytes()?;
    let plaintext = Arc::new(Plaintext::new(seed.to_vec()));
    let wrapped: Wrapped = ask(actor, deadline, |reply| KeyMsg::Encrypt {
        plaintext,
        pin: Pin::Announced,
        deadline,
        parent: Parent::NOBODY,
        reply,
    })
    .await?;
    let key_id = Some(wrapped.key_id.as_str().to_owned());
    let unwrapped: Plaintext = ask(actor, deadline, |reply| KeyMsg::Decrypt {
        ciphertext: Arc::new(wrapped.ciphertext),
        key_id,
        deadline,
        parent: Parent::NOBODY,
        reply,
    })
    .await?;
    if unwrapped.expose_secret() != seed {
        return Err(internal("a round trip brought something else back"));
    }
    let (Some(canary), Some(proven)) = (&before.canary, &before.proven) else {
        return Ok(());
    };
    let (ciphertext, key_id) = (canary.ciphertext.clone(), proven.key_id.as_str().to_owned());
    let old: Plaintext = ask(actor, deadline, |reply| KeyMsg::Decrypt {
        ciphertext,
        key_id: Some(key_id),
        deadline,
        parent: Parent::NOBODY,
        reply,
    })
    .await
    .map_err(|error| error.of_what_was_written())?;
    if old.expose_secret() != canary.plaintext {
        return Err(internal(
            "what was written before came back as something else",
        ));
    }
    Ok(())
}

async fn ask<T: Send + 'static>(
    actor: &ActorRef<KeyMsg>,
    deadline: Instant,
    message: impl FnOnce(Reply<T>) -> KeyMsg,
) -> Result<T, KeyError> {
    let (reply, answer) = oneshot::channel();
    let sent = actor.cast(message(reply));
    // It answers at the deadline at the latest, and then says why.
    match (sent, timeout_at(deadline + GRACE, answer).await) {
        (Ok(()), Ok(Ok(answer))) => answer,
        _ => Err(internal("it gave no answer")),
    }
}

fn internal(text: &str) -> KeyError {
    KeyError::new(ErrorKind::Internal, text.to_owned())
}
