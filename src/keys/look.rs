//! A look at the writing key: what is its latest version, and does it work through our own session?

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::caller::Caller;
use super::crypt;
use super::error::{ErrorKind, KeyError};
use super::news::{self, Reading};
use super::view::Canary;
use crate::vault::{Ciphertext, KeyMoment, Plaintext, TransitKey};

/// How long one request of a look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// What is known before a look.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) proven: Option<KeyMoment>,
    pub(super) canary: Option<Canary>,
    /// Whether the proven version has to show again that it works.
    pub(super) proof_due: bool,
    /// Whether an earlier moment is believed now.
    pub(super) believe_earlier: bool,
}

/// What a look found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) reading: Reading,
    /// The latest moment that the server told.
    pub(super) seen: KeyMoment,
    /// A version that was proven by this look, the proven one again or another.
    pub(super) proof: Option<Canary>,
    /// Why the server's latest version does not work while the proven one does.
    pub(super) spurned: Option<KeyError>,
}

/// Looks, and proves what has to be proven.
pub(super) async fn look(
    caller: &Caller,
    key: &Arc<TransitKey>,
    known: Known,
) -> Result<Found, KeyError> {
    // However long Vault is away, a look is no failure: there is nothing to see yet.
    caller.sessions.wait_long().await;
    let seen = latest(caller, key).await?;
    let mut found = Found {
        reading: news::read(known.proven, seen),
        seen,
        proof: None,
        spurned: None,
    };
    let to_prove = match found.reading {
        Reading::News => Some(seen),
        Reading::Earlier if known.believe_earlier => Some(seen),
        Reading::Earlier => None,
        Reading::Same => known.proof_due.then_some(seen),
    };
    let Some(moment) = to_prove else {
        return Ok(found);
    };
    let kept = known.canary.as_ref().filter(|kept| kept.moment == moment);
    match (prove(caller, key, moment, kept).await, known.proven) {
        (Ok(canary), _) => found.proof = Some(canary),
        // The new version does not work; the one before still may, and must not be hidden by it.
        (Err(error), Some(proven)) if error.may_be_verdict() && proven != moment => {
            found.proof = Some(prove(caller, key, proven, known.canary.as_ref()).await?);
            found.spurned = Some(error);
        }
        (Err(error), _) => return Err(error),
    }
    Ok(found)
}

async fn latest(caller: &Caller, key: &Arc<TransitKey>) -> Result<KeyMoment, KeyError> {
    let deadline = Instant::now() + LOOK_LIMIT;
    let info = caller
        .call(key, deadline, |session| {
            let (client, key) = (caller.client.clone(), key.clone());
            async move { client.read_key(&key, &session.token, deadline).await }
        })
        .await?;
    match info.unfit {
        Some(why) => Err(KeyError::unfit(key, why)),
        None => Ok(info.latest),
    }
}

/// Encrypts a canary with this version and decrypts it, and the one kept from before.
async fn prove(
    caller: &Caller,
    key: &Arc<TransitKey>,
    moment: KeyMoment,
    kept: Option<&Canary>,
) -> Result<Canary, KeyError> {
    if let Some(kept) = kept {
        // Fails when the key was made anew within the second that its creation time can show.
        decrypts_to(caller, key, &kept.ciphertext, &kept.plaintext).await?;
    }
    let plaintext = random_bytes()?;
    let canary = Arc::new(Plaintext::new(plaintext.to_vec()));
    let (version, deadline) = (Some(moment.version), Instant::now() + LOOK_LIMIT);
    let encrypted = crypt::encrypt(caller, key, &canary, version, deadline).await?;
    decrypts_to(caller, key, &encrypted.ciphertext, &plaintext).await?;
    Ok(Canary {
        plaintext,
        ciphertext: encrypted.ciphertext,
        moment,
    })
}

async fn decrypts_to(
    caller: &Caller,
    key: &Arc<TransitKey>,
    ciphertext: &Ciphertext,
    expected: &[u8; 32],
) -> Result<(), KeyError> {
    let deadline = Instant::now() + LOOK_LIMIT;
    let plaintext = crypt::decrypt_with(caller, key, ciphertext, deadline).await?;
    if plaintext.expose_secret() == expected {
        return Ok(());
    }
    Err(KeyError::unfit(key, "a canary came back as something else"))
}

fn random_bytes() -> Result<[u8; 32], KeyError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| KeyError::new(ErrorKind::Internal, format!("no random bytes: {error}")))?;
    Ok(bytes)
}
