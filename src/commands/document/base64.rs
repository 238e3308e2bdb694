//! Base64 as Go's standard encoding reads it.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const LAX: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
const GO: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LAX);

/// The bytes of a text in which line breaks do not count.
pub(in crate::commands) fn decode(text: &str) -> Option<Vec<u8>> {
    GO.decode(text.replace(['\r', '\n'], "")).ok()
}
