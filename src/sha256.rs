//! SHA-256, by the library that TLS uses.

use aws_lc_rs::digest;

/// Of these bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    array.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    array
}
