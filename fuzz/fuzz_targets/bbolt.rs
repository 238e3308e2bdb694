//! Any bytes in place of a database of etcd: the reader of snapshots never panics, never goes on without end, and gives
//! no record that is larger than the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vault_kms_plugin::etcd::snapshot;

fuzz_target!(|database: &[u8]| {
    let Ok((_, records)) = snapshot::read(database, "/registry") else {
        return;
    };
    assert!(records.iter().all(|record| record.value.len() <= database.len()));
});
