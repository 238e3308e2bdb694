//! The repair of `:authority`: what a client sends is passed on byte for byte, except an `:authority`
//! that the HTTP/2 server would reject.
//!
//! KMS v1 clients of every Kubernetes and v2 clients before 1.32 send the socket's path as
//! `:authority` (grpc-go `clientconn.go`, `encodeAuthority`), as `%2Frun%2Fkms.sock` or raw. No URI
//! has such an authority, so h2 resets the stream with PROTOCOL_ERROR. Nothing here uses the value;
//! it is replaced by zeros, as many as it had characters, so that the HPACK tables of both ends
//! stay in step.
//!
//! [`Repair`] decides without I/O; [`Repaired`] is the stream.

mod block;
mod frame;
mod huffman;
mod repair;
mod stream;

pub(super) use repair::PREFACE;
pub use repair::Repair;
pub use stream::Repaired;

#[cfg(test)]
mod tests;
