//! What a refresh is doing, and what for.

use crate::keys::error::KeyError;
use crate::vault::VersionStamp;

/// Why a canary is decrypted or a version proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The proven version has to be shown again.
    Routine,
    /// A newer version was reported.
    Newer,
    /// An older version was reported, or another creation time of this one.
    Older,
    /// The operator accepted the key that was reported.
    Accepted,
    /// The latest version does not work, for this reason: the one before still may.
    Fallback(KeyError),
}

/// Which call is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Reading,
    Decrypting(Report, Purpose),
    Proving(Report, Purpose),
}

/// What Vault reported of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) latest: VersionStamp,
    pub(super) min_decryption_version: u32,
    pub(super) imported: bool,
}
