//! SHA-256, by the library that TLS uses.

use std::fmt::Write;

use aws_lc_rs::digest;

/// Enough to tell configurations apart, few enough to read out.
const SHORT_BYTES: usize = 8;

/// Of these bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    array.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    array
}

/// The first bytes of it in hexadecimal, to compare by eye.
pub(crate) fn short_hash(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in &sha256(bytes)[..SHORT_BYTES] {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
