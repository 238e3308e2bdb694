//! A look at the writing key: what is its latest version, and does it work through our own session?

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::caller::Caller;
use super::crypt;
use super::error::{ErrorKind, KeyError};
use super::news::{self, Reading};
use super::pace::Proof;
use super::view::Canary;
use crate::session::Session;
use crate::vault::{KeyInfo, Plaintext, TransitKey, VersionStamp};

/// How long one request of a look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// The same for the first Decrypt of an imported key. Vault 1.21 crashes on it, and logs the crash,
/// where the private half is missing: that is not to be repeated for long.
const IMPORTED_LIMIT: Duration = Duration::from_secs(2);

/// What is known before a look.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) proven: Option<VersionStamp>,
    pub(super) canary: Option<Canary>,
    /// What the proven version has to show again.
    pub(super) due: Proof,
    /// The earlier stamp that is believed by now.
    pub(super) believed: Option<VersionStamp>,
}

/// What a look found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) reading: Reading,
    /// The latest stamp that the server told.
    pub(super) seen: VersionStamp,
    /// A version that was proven by this look, the proven one again or another.
    pub(super) proof: Option<Proved>,
    /// Whether the proven version works although the server told an earlier one.
    pub(super) disproved: bool,
    /// Why the server's latest version does not work while the proven one does.
    pub(super) spurned: Option<KeyError>,
}

/// A version that worked.
#[derive(Debug)]
pub(super) struct Proved {
    pub(super) canary: Canary,
    /// Whether it encrypted, too.
    pub(super) encrypted: bool,
}

/// The way to one key.
#[derive(Clone, Copy)]
struct Way<'a> {
    caller: &'a Caller,
    key: &'a Arc<TransitKey>,
}

/// Looks, and proves what has to be proven.
pub(super) async fn look(
    caller: &Caller,
    key: &Arc<TransitKey>,
    known: Known,
) -> Result<Found, KeyError> {
    // However long Vault is away, a look is no failure: there is nothing to see yet.
    caller.sessions.wait_long().await;
    let way = Way { caller, key };
    let info = way.info().await?;
    let seen = info.latest;
    let mut found = Found {
        reading: news::read(known.proven, seen),
        seen,
        proof: None,
        disproved: false,
        spurned: None,
    };
    match found.reading {
        Reading::News => {
            let (proved, spurned) = way.prove_new(&info, &known).await?;
            (found.proof, found.spurned) = (Some(proved), spurned);
        }
        Reading::Same if known.due != Proof::NotDue => {
            let kept = known.canary.as_ref();
            found.proof = Some(way.prove(&info, seen, kept, known.due).await?);
        }
        Reading::Earlier if known.believed == Some(seen) => {
            found.disproved = way.still_decrypts(known.canary.as_ref()).await?;
            if !found.disproved {
                let proved = way.prove(&info, seen, None, Proof::RoundTrip).await?;
                found.proof = Some(proved);
            }
        }
        Reading::Same | Reading::Earlier => {}
    }
    Ok(found)
}

/// The limit under which Transit decrypts no more, for an error's text; nothing when it cannot be
/// had in time.
pub(super) async fn least_decryptable(
    caller: &Caller,
    key: &Arc<TransitKey>,
    deadline: Instant,
) -> Option<u32> {
    let info = Way { caller, key }.read(deadline).await.ok()?;
    Some(info.min_decryption_version)
}

impl Way<'_> {
    async fn info(self) -> Result<KeyInfo, KeyError> {
        let info = self.read(Instant::now() + LOOK_LIMIT).await?;
        match info.unfit {
            Some(unfit) => Err(KeyError::unfit(self.key, unfit.cause, Some(unfit.remedy))),
            None => Ok(info),
        }
    }

    async fn read(self, deadline: Instant) -> Result<KeyInfo, KeyError> {
        let read = |session: Arc<Session>| {
            let (client, key) = (self.caller.client.clone(), self.key.clone());
            async move { client.read_key(&key, &session.token, deadline).await }
        };
        self.caller.call(self.key, deadline, read).await
    }

    /// Proves a newer version. Where it does not work the one before still may, and must not be
    /// hidden by it: then that is proven again, and the second value says what is wrong.
    async fn prove_new(
        self,
        info: &KeyInfo,
        known: &Known,
    ) -> Result<(Proved, Option<KeyError>), KeyError> {
        let spurned = match self.prove(info, info.latest, None, Proof::RoundTrip).await {
            Ok(proved) => return Ok((proved, None)),
            Err(error) => error,
        };
        let Some(proven) = known.proven else {
            return Err(spurned);
        };
        let kept = known.canary.as_ref();
        match self.prove(info, proven, kept, Proof::RoundTrip).await {
            Ok(proved) => Ok((proved, Some(spurned))),
            // Nobody may stop writing over a fault that passes.
            Err(passing) if passing.is_transient() => Err(passing),
            Err(_) => Err(spurned),
        }
    }

    /// Decrypts the canary kept from before, and makes another: encrypts it with this version and
    /// decrypts it.
    async fn prove(
        self,
        info: &KeyInfo,
        stamp: VersionStamp,
        kept: Option<&Canary>,
        due: Proof,
    ) -> Result<Proved, KeyError> {
        if let Some(kept) = kept.filter(|kept| kept.stamp == stamp) {
            // Fails when the key was recreated within the second that its creation time can show.
            let decrypted = self.decrypts(kept, LOOK_LIMIT).await;
            decrypted.map_err(|error| error.of_canary(self.key))?;
            if due == Proof::Canary {
                let (canary, encrypted) = (kept.clone(), false);
                return Ok(Proved { canary, encrypted });
            }
        }
        let canary = self.make_canary(stamp).await?;
        let limit = if info.imported {
            IMPORTED_LIMIT
        } else {
            LOOK_LIMIT
        };
        let decrypted = self.decrypts(&canary, limit).await;
        decrypted.map_err(|error| error.after_encrypt(self.key, info))?;
        let encrypted = true;
        Ok(Proved { canary, encrypted })
    }

    async fn make_canary(self, stamp: VersionStamp) -> Result<Canary, KeyError> {
        let (plaintext, deadline) = (random_bytes()?, Instant::now() + LOOK_LIMIT);
        let secret = Arc::new(Plaintext::new(plaintext.to_vec()));
        let version = Some(stamp.version);
        let encrypted = crypt::encrypt(self.caller, self.key, &secret, version, deadline).await?;
        Ok(Canary {
            plaintext,
            ciphertext: Arc::new(encrypted.ciphertext),
            stamp,
        })
    }

    async fn decrypts(self, canary: &Canary, limit: Duration) -> Result<(), KeyError> {
        let deadline = Instant::now() + limit;
        let plaintext =
            crypt::decrypt_with(self.caller, self.key, &canary.ciphertext, deadline).await?;
        if plaintext.expose_secret() == canary.plaintext {
            return Ok(());
        }
        Err(KeyError::unfit(
            self.key,
            "a canary came back as something else",
            None,
        ))
    }

    /// Whether the proven version is there after all: its canary says so, where there is one.
    async fn still_decrypts(self, canary: Option<&Canary>) -> Result<bool, KeyError> {
        let Some(canary) = canary else {
            return Ok(false);
        };
        match self.decrypts(canary, LOOK_LIMIT).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_transient() => Err(error),
            Err(_) => Ok(false),
        }
    }
}

pub(super) fn random_bytes() -> Result<[u8; 32], KeyError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| KeyError::new(ErrorKind::Internal, format!("no random bytes: {error}")))?;
    Ok(bytes)
}
