//! KeyManager: which key version writes, what Status says, and every Encrypt and Decrypt.
//!
//! `handle` never awaits Vault. A call is one message; its task in `batch` answers the caller
//! itself, and the actor hears only of what contradicts it.

mod error;
mod key_id;
mod manager;
mod operations;
mod preflight;
mod refresh;
mod state_file;
mod status;
mod status_handle;
mod view;

use std::path::PathBuf;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::session::Sessions;
use crate::telemetry::spans::Parent;
pub use crate::vault::{Ciphertext, InvalidCiphertext, Plaintext};
use crate::vault::{Client, TransitKey};
pub use error::{ErrorKind, KeyError};
pub use key_id::KeyId;
pub use manager::State;
pub use operations::{CallObservation, EncryptedSeed, FailedDecrypt};
pub use preflight::verify;
pub use refresh::RefreshEvent;
pub use state_file::load as load_state;
pub use status::{HealthLimits, Policy, StatusReport, status_now};
pub use status_handle::{KeyManagerHandle, StatusHandle};
pub use view::{KeyFault, KeyView, ProvenKey};

/// The actor. It holds nothing: all is in its state.
#[derive(Debug)]
pub struct KeyManager;

/// Which keys, and the Status policy.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The key that encrypts.
    pub key: TransitKey,
    /// Keys that may still decrypt.
    pub decrypt_also: Vec<TransitKey>,
    /// The key_id of a replaced key that an operator accepts (`transit.accept_replaced`).
    pub accept_replaced: Option<String>,
    /// How long Vault may be silent.
    pub limits: HealthLimits,
    /// How many requests of each operation may be in flight at a time.
    pub max_in_flight: usize,
    /// Where what was announced is stored.
    pub state_file: PathBuf,
}

/// What the actor needs; the same at every restart.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// The server.
    pub client: Arc<Client>,
    /// Who is logged in.
    pub sessions: Sessions,
    /// Which keys.
    pub settings: Arc<Settings>,
    /// Where what is known of the key is published.
    pub view: Arc<watch::Sender<KeyView>>,
    /// Whether this KeyManager serves. The candidate of a reload does not yet: it writes no state
    /// file, and logs nothing as if it did.
    pub serving: watch::Receiver<bool>,
}

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
    /// When the caller wants its answer.
    pub deadline: Instant,
    /// The call's span.
    pub parent: Parent,
    /// Where the answer goes.
    pub reply: Reply<Plaintext>,
}

/// The actor's messages.
#[derive(Debug)]
pub enum KeyMsg {
    /// Encrypt a seed.
    Encrypt(EncryptCall),
    /// Decrypt a seed.
    Decrypt(DecryptCall),
    /// Something happened to the refresh of the key.
    Refresh(RefreshEvent),
    /// A call showed something about the writing key that is not known yet.
    Observed(CallObservation),
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

impl Actor for KeyManager {
    type Msg = KeyMsg;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<KeyMsg>,
        args: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        myself.cast(KeyMsg::Refresh(RefreshEvent::Due))?;
        Ok(State::new(args, myself))
    }

    async fn handle(
        &self,
        _: ActorRef<KeyMsg>,
        message: KeyMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.reap()?;
        match message {
            KeyMsg::Encrypt(call) => state.encrypt(call),
            KeyMsg::Decrypt(call) => state.decrypt(call),
            KeyMsg::Refresh(event) => state.refresh(event),
            KeyMsg::Observed(observation) => state.observed(observation),
            KeyMsg::Explain(failed) => state.explain(failed),
            KeyMsg::Promoted => state.promoted(),
            KeyMsg::Ping(reply) => drop(reply.send(())),
            #[cfg(feature = "faults")]
            KeyMsg::Fail(fault) => return fault.strike().await,
        }
        Ok(())
    }
}
