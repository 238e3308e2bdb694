//! A Decrypt of a value whose seed is sealed under a local KEK: once the KEK is unwrapped, the seed is opened here.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::error::KeyError;
use super::local_kek;
use super::message::{DecryptCall, Reply};
use crate::vault::{Ciphertext, Plaintext};

/// The caller of such a value, who waits for the seed.
pub(super) struct Waiting {
    wrapped: Arc<Ciphertext>,
    sealed: Vec<u8>,
    kek: oneshot::Receiver<Result<Plaintext, KeyError>>,
    reply: Reply<Plaintext>,
}

/// Splits a call for such a value into one for its KEK and the caller. Gives any other call back.
pub(super) fn split(call: DecryptCall) -> Result<(DecryptCall, Waiting), DecryptCall> {
    let Some(sealed) = local_kek::sealed(call.annotations.as_deref()) else {
        return Err(call);
    };
    let sealed = sealed.to_vec();
    let (for_kek, kek) = oneshot::channel();
    let waiting = Waiting {
        wrapped: call.ciphertext.clone(),
        sealed,
        kek,
        reply: call.reply,
    };
    let call = DecryptCall {
        reply: for_kek,
        ..call
    };
    Ok((call, waiting))
}

impl Waiting {
    /// Answers once the KEK is there. If nobody waits any more, the call for the KEK is abandoned too; if that is lost,
    /// so is this one, and is repeated with the actor's successor.
    pub(super) async fn answer(mut self) {
        let kek = tokio::select! {
            biased;
            kek = &mut self.kek => kek,
            () = self.reply.closed() => return,
        };
        let Ok(kek) = kek else { return };
        let seed = kek.and_then(|kek| {
            local_kek::open(&kek, &self.wrapped, &self.sealed).ok_or_else(KeyError::of_sealed_seed)
        });
        let _ = self.reply.send(seed);
    }
}
