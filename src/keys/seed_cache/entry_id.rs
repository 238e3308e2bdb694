//! What an entry is found by.

use crate::sha256::sha256;
use crate::vault::{AssociatedData, Ciphertext, TransitKey};

/// The SHA-256 over a key, a ciphertext and what that is bound to.
pub(super) type EntryId = [u8; 32];

/// The entry of a ciphertext. Each part with its length, so that no two lists of parts are the same bytes.
pub(super) fn entry_id(
    key: &TransitKey,
    ciphertext: &Ciphertext,
    associated_data: Option<&AssociatedData>,
) -> EntryId {
    let parts = [
        key.namespace.as_str(),
        key.mount.as_str(),
        key.name.as_str(),
        ciphertext.as_str(),
        associated_data.map_or("", AssociatedData::as_str),
    ];
    let mut bytes = Vec::with_capacity(ciphertext.as_str().len() + 128);
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    sha256(&bytes)
}
