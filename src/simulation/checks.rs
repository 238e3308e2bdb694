//! What was seen of the daemon so far.

use std::time::Duration;

use crate::grpc::proto::v2::EncryptResponse;

/// All of it, and what breaks the contract.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) violations: Vec<String>,
    /// Each greatest key_id so far: since when it had been returned, and its place in the order.
    pub(super) announced: Vec<(Duration, Place)>,
    /// What etcd holds.
    pub(super) stored: Vec<Stored>,
    /// The keys that were accepted in place of another.
    pub(super) accepted: Vec<usize>,
    /// What the last error named to be accepted, unless Status was answered since.
    pub(super) named: Option<String>,
    /// The end of the last process: what it had announced may not have reached the state file.
    pub(super) crashed: Option<Duration>,
    pub(super) counts: Counts,
}

/// How much a run did.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) answers: u32,
    pub(super) errors: u32,
    pub(super) lives: u32,
}

/// What was encrypted, and the result.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) plaintext: Vec<u8>,
    pub(super) response: EncryptResponse,
}

/// The place of a key_id in the order in which they are announced: the key, the suffix, the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) key: usize,
    pub(super) suffix: u32,
    pub(super) version: u32,
}
