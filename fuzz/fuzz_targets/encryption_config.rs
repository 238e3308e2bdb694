//! Any bytes as an EncryptionConfiguration: `src/commands/check/encryption/fuzzing.rs` says what has to hold.
#![no_main]

use std::panic;

use libfuzzer_sys::fuzz_target;
use vault_kms_plugin::fuzzing;

/// The parser panics at some forms of YAML, which is caught and an error. Every other panic is a finding.
fn let_the_parser_panic() {
    let abort = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let is_of_parser = panic.location().is_some_and(|at| at.file().contains("libyaml-safer"));
        if !is_of_parser {
            abort(panic);
        }
    }));
}

fuzz_target!(
    init: let_the_parser_panic(),
    |text: &[u8]| fuzzing::encryption_config(text)
);
