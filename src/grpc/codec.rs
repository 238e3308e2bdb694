//! The codec of the KMS services: tonic's own for prost, with buffers as large as a seed's messages.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

/// A KMS message is a seed of 32 bytes and little more; a key_id is at most 1 KiB.
pub(super) const MAX_MESSAGE: usize = 64 * 1024;
/// tonic allocates a buffer for each message in either direction, by default of 8 KiB. A seed's
/// messages are smaller than this; for others it grows.
const BUFFER: usize = 512;
/// How much is encoded before it is sent: more than the largest message.
const SEND_AT: usize = 32 * 1024;

/// The generated services name it (`build.rs`).
pub(super) struct KmsCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for KmsCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for KmsCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(buffers())
    }
}

fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER, SEND_AT)
}
