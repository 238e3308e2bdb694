//! What can happen to a refresh.

use crate::keys::error::KeyError;
use crate::keys::view::Canary;
use crate::vault::KeyInfo;

/// Something happened to the refresh.
#[derive(Debug)]
pub enum RefreshEvent {
    /// The timer fired.
    Due,
    /// A call of kube-apiserver's showed something.
    Observed(CallObservation),
    /// A call of the refresh ended.
    Ended(CallOutcome),
}

/// What a call showed of the writing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallObservation {
    /// It worked, although the last refresh failed.
    Recovered,
    /// It encrypted with a version that is newer than the proven one.
    NewerVersion,
    /// Vault contradicted what is known of the key.
    Contradicted,
}

/// How a call of the refresh ended.
#[derive(Debug)]
pub struct CallOutcome(pub(super) Outcome);

#[derive(Debug)]
pub(super) enum Outcome {
    KeyRead(Result<KeyInfo, KeyError>),
    CanaryDecrypted(Result<(), KeyError>),
    Proved(Result<Proof, KeyError>),
}

/// A version that encrypted and decrypted.
#[derive(Debug)]
pub(in crate::keys) struct Proof {
    /// What it encrypted.
    pub(in crate::keys) canary: Canary,
    /// Whether the server that decrypted this decrypts the canary from before, too; `Ok` if there is none. Only an
    /// answer to both says something of the key: a standby that lags may have one that was deleted.
    pub(in crate::keys) before: Result<(), KeyError>,
}

impl CallOutcome {
    pub(in crate::keys) fn key_read(outcome: Result<KeyInfo, KeyError>) -> Self {
        Self(Outcome::KeyRead(outcome))
    }

    pub(in crate::keys) fn canary_decrypted(outcome: Result<(), KeyError>) -> Self {
        Self(Outcome::CanaryDecrypted(outcome))
    }

    pub(in crate::keys) fn proved(outcome: Result<Proof, KeyError>) -> Self {
        Self(Outcome::Proved(outcome))
    }
}
