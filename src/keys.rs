//! KeyManager: which key version writes, what Status says, and every Encrypt and Decrypt.
//!
//! `handle` never awaits Vault. A call is one message; its task in `batch` answers the caller
//! itself, and the actor hears only of what contradicts it.

mod announced;
mod arguments;
mod bound;
mod calls;
mod candidates;
mod completion;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod key_id;
mod local_decrypt;
mod local_encrypt;
mod local_kek;
mod manager;
mod message;
#[cfg(all(test, feature = "kmsctl"))]
mod model;
mod operations;
mod preflight;
mod refresh;
mod remembered;
mod seed_cache;
mod state_file;
mod status;
mod status_handle;
mod view;

use ractor::{Actor, ActorProcessingErr, ActorRef};

pub use crate::vault::{Ciphertext, InvalidCiphertext, Plaintext};
pub use announced::AnnouncedKeyIds;
pub use arguments::{Arguments, Settings};
pub use bound::{Annotations, BOUND_BY, BoundKey, BoundLabels};
#[cfg(feature = "kmsctl")]
pub(crate) use bound::{CarriedLabels, is_bound, named as named_bound_keys};
pub use error::{ErrorKind, KeyError};
pub use key_id::{KeyId, KeyIdParts};
#[cfg(feature = "kmsctl")]
pub(crate) use local_kek::{
    ANNOTATION as LOCAL_KEK, associated_data as kek_data, open as open_sealed,
    sealed as sealed_seed,
};
pub use manager::State;
pub use message::{
    DecryptCall, DecryptTogether, EncryptCall, EncryptedSeed, FailedDecrypt, KeyMsg, Pin, Reply,
};
pub use preflight::verify;
pub use refresh::{CallObservation, RefreshEvent};
pub use seed_cache::{SeedCache, SeedCacheReport, SeedCacheSettings};
pub use state_file::{announced, load as load_state};
pub use status::{HealthLimits, Policy, StatusReport, status_now};
pub use status_handle::{KeyManagerHandle, StatusHandle};
pub use view::{KeyFault, KeyView, ProvenKey};

/// The actor. It holds nothing: all is in its state.
#[derive(Debug)]
pub struct KeyManager;

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
            KeyMsg::EncryptByVault(call) => state.encrypt_by_vault(call),
            KeyMsg::DecryptByVault(call) => state.decrypt_by_vault(call),
            KeyMsg::Refresh(event) => state.refresh(event),
            KeyMsg::Observed(observation) => state.observed(observation),
            KeyMsg::DecryptTogether(call) => state.decrypt_together(call),
            KeyMsg::Explain(failed) => state.explain(failed),
            KeyMsg::Promoted => state.promoted(),
            KeyMsg::Ping(reply) => drop(reply.send(())),
            #[cfg(feature = "faults")]
            KeyMsg::Fail(fault) => return fault.strike().await,
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<KeyMsg>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.finish().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
