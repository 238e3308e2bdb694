//! Any bytes a client may send, in any reads: the repair of `:authority` never panics, never makes
//! them more, does not care how they were cut, and finds nothing more to fix the second time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vault_kms_plugin::grpc::authority::Repair;

#[path = "../../src/grpc/authority/tests/drive.rs"]
mod drive;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// The first byte says in how large reads the others come.
fuzz_target!(|input: &[u8]| {
    let Some((size, frames)) = input.split_first() else {
        return;
    };
    let sent = [PREFACE, frames].concat();
    let whole = drive::repaired(&sent, &[usize::MAX]);
    assert!(whole.len() <= sent.len());
    assert_eq!(whole, drive::repaired(&sent, &[usize::from(*size) + 1]));
    assert_eq!(whole, drive::repaired(&whole, &[usize::MAX]));
});
