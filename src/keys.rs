//! KeyManager: which key version writes, what Status says, and every Encrypt and Decrypt.
//!
//! `handle` never awaits Vault: each call is a task in the actor's state that answers its caller
//! itself and then tells the actor what it learnt.

mod caller;
mod crypt;
mod error;
mod key_id;
mod lane;
mod look;
mod manager;
mod news;
mod pace;
mod state_file;
mod status;
mod status_handle;
mod trial;
mod verdict;
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
pub use crypt::Wrapped;
pub use error::{ErrorKind, KeyError};
pub use key_id::KeyId;
pub use manager::{BatchMsg, LookOutcome, Observation, State};
pub use state_file::load as load_state;
pub use status::{HealthLimits, Policy, StatusReport, status_now};
pub use status_handle::{KeyManagerHandle, StatusHandle};
pub use trial::verify;
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
    /// How long Vault may be silent.
    pub limits: HealthLimits,
    /// How many requests of each operation may be out at a time.
    pub max_in_flight: usize,
    /// Where what was announced is kept.
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
}

/// Where an answer goes. It closes when the caller has gone.
pub type Reply<T> = oneshot::Sender<Result<T, KeyError>>;

/// The actor's messages. A `deadline` is the time by which the caller wants its answer.
#[derive(Debug)]
pub enum KeyMsg {
    /// Wrap a seed.
    Encrypt {
        /// The seed. Shared, because the call is repeated when the actor dies.
        plaintext: Arc<Plaintext>,
        /// Which version has to do it.
        pin: Pin,
        /// When the answer has to be there.
        deadline: Instant,
        /// For which call.
        parent: Parent,
        /// Where it goes.
        reply: Reply<Wrapped>,
    },
    /// Unwrap a seed.
    Decrypt {
        /// What Transit made of it once.
        ciphertext: Arc<Ciphertext>,
        /// Under which key_id; KMS v1 knows none.
        key_id: Option<String>,
        /// When the answer has to be there.
        deadline: Instant,
        /// For which call.
        parent: Parent,
        /// Where it goes.
        reply: Reply<Plaintext>,
    },
    /// It is time to look at the key.
    Look,
    /// A look ended.
    Looked(LookOutcome),
    /// A call ended.
    Observed(Observation),
    /// Something happened to what waits for a request, or is out with one.
    Batch(BatchMsg),
    /// Is it there? Asked by the Supervisor, which kills an actor that does not answer.
    Ping(RpcReplyPort<()>),
    /// Fails on request.
    #[cfg(feature = "faults")]
    Fail(Fault),
}

/// Which key version an Encrypt uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// The one whose key_id Status announced: KMS v2.
    Announced,
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
        myself.cast(KeyMsg::Look)?;
        Ok(State::new(args, myself))
    }

    async fn handle(
        &self,
        myself: ActorRef<KeyMsg>,
        message: KeyMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.reap()?;
        match message {
            KeyMsg::Encrypt {
                plaintext,
                pin,
                deadline,
                parent,
                reply,
            } => {
                state.encrypt(&myself, plaintext, pin, deadline, parent, reply);
            }
            KeyMsg::Decrypt {
                ciphertext,
                key_id,
                deadline,
                parent,
                reply,
            } => {
                state.decrypt(&myself, ciphertext, key_id, deadline, parent, reply);
            }
            KeyMsg::Look => state.look(&myself),
            KeyMsg::Looked(outcome) => state.looked(&myself, outcome),
            KeyMsg::Batch(message) => state.batch(&myself, message),
            KeyMsg::Observed(observation) => state.observed(&myself, observation),
            KeyMsg::Ping(reply) => drop(reply.send(())),
            #[cfg(feature = "faults")]
            KeyMsg::Fail(fault) => return fault.strike().await,
        }
        Ok(())
    }
}
