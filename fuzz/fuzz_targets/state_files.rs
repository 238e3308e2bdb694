//! Any bytes as the state file, the file of the secret_ids, or the state of `migrate`: `state_files` of `src/fuzzing.rs` and
//! what it calls say what has to hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vault_kms_plugin::fuzzing;

fuzz_target!(|input: &[u8]| fuzzing::state_files(input));
