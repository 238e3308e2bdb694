//! Any bytes as any other response of Vault, its errors too: `src/vault/fuzzing.rs` says what has to hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vault_kms_plugin::fuzzing;

fuzz_target!(|input: &[u8]| fuzzing::vault_response(input));
