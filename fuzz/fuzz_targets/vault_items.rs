//! Any bytes as Vault's results of an Encrypt or a Decrypt: `src/vault/fuzzing.rs` says what has to hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vault_kms_plugin::fuzzing;

fuzz_target!(|input: &[u8]| fuzzing::vault_items(input));
