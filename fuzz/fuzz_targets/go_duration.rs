//! Any bytes as a duration of Go, read in two ways: `src/fuzzing/go_duration.rs` says what has to hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vault_kms_plugin::fuzzing;

fuzz_target!(|input: &[u8]| fuzzing::go_duration(input));
