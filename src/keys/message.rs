//! The KeyManager's messages: an Encrypt or a Decrypt with the channel for its answer, and what happens
//! to the refresh of the key.

use std::sync::Arc;

use ractor::RpcReplyPort;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::bound::Annotations;
use super::error::KeyError;
use super::key_id::KeyId;
use super::refresh::event::{CallObservation, RefreshEvent};
use super::view::ProvenKey;
#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::telemetry::spans::Parent;
use crate::vault::{Ciphertext, KeyVersion, Plaintext, TransitKey};

/// Where an answer goes. It is closed when the caller has gone.
pub type Reply<T> = oneshot::Sender<Result<T, KeyError>>;

/// A seed to encrypt.
#[derive(Debug)]
pub struct EncryptCall {
    /// The seed. Shared, because the call is repeated when the actor dies.
    pub plaintext: Arc<Plaintext>,
    /// Which version has to do it.
    pub pin: Pin,
    /// When the caller wants its answer.
    pub deadline: Instant,
    /// The call's span.
    pub parent: Parent,
    /// Where the answer goes.
    pub reply: Reply<EncryptedSeed>,
}

/// A seed to decrypt.
#[derive(Debug)]
pub struct DecryptCall {
    /// What Transit made of it.
    pub ciphertext: Arc<Ciphertext>,
    /// Under which key_id; KMS v1 knows none.
    pub key_id: Option<String>,
    /// The annotations of the value; `None` if it has none, as always under KMS v1.
    pub annotations: Option<Arc<Annotations>>,
    /// When the caller wants its answer.
    pub deadline: Instant,
    /// The call's span.
    pub parent: Parent,
    /// Where the answer goes.
    pub reply: Reply<Plaintext>,
}

/// An encrypted seed and the key_id that it was encrypted under.
#[derive(Debug)]
pub struct EncryptedSeed {
    /// Transit's ciphertext.
    pub ciphertext: Ciphertext,
    /// The announced key_id; under KMS v1 nobody asks for it.
    pub key_id: KeyId,
    /// Name and value of the annotation, if it was sealed under a local KEK.
    pub annotation: Option<(&'static str, Vec<u8>)>,
}

/// Ciphertexts of the writing key to be decrypted in one request, so that one server answers with one state of the key.
#[derive(Debug)]
pub struct DecryptTogether {
    pub(super) ciphertexts: Vec<Arc<Ciphertext>>,
    pub(super) deadline: Instant,
    /// Takes the outcome of each.
    pub(super) reply: Reply<Vec<Result<Plaintext, KeyError>>>,
}

/// A Decrypt that was rejected because its version is below the key's limit.
#[derive(Debug)]
pub struct FailedDecrypt {
    pub(super) key: Arc<TransitKey>,
    pub(super) version: KeyVersion,
    pub(super) error: KeyError,
    pub(super) deadline: Instant,
    pub(super) reply: Reply<Plaintext>,
}

/// The actor's messages.
#[derive(Debug)]
pub enum KeyMsg {
    /// Encrypt a seed.
    Encrypt(EncryptCall),
    /// Decrypt a seed.
    Decrypt(DecryptCall),
    /// Encrypt a seed that no local KEK could seal.
    EncryptByVault(EncryptCall),
    /// Decrypt a seed that the seed cache could not answer.
    DecryptByVault(DecryptCall),
    /// Something happened to the refresh of the key.
    Refresh(RefreshEvent),
    /// A call showed something about the writing key that is not known yet.
    Observed(CallObservation),
    /// Decrypt several ciphertexts in one request.
    DecryptTogether(DecryptTogether),
    /// A Decrypt failed, and its error should name the key's limit.
    Explain(FailedDecrypt),
    /// It serves from now on, with what the view holds.
    Promoted,
    /// Sent by the Supervisor, which kills an actor that does not answer.
    Ping(RpcReplyPort<()>),
    /// Fails on request.
    #[cfg(feature = "faults")]
    Fail(Fault),
}

/// Which key version an Encrypt uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// The one that the last Status on the same connection returned; if there was none, the one that
    /// was announced last, or else the proven one: KMS v2.
    Announced(Option<ProvenKey>),
    /// Whichever is the latest at Vault: KMS v1, which knows no key_id.
    Latest,
}
