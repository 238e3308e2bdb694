//! Any bytes in place of a database of etcd: the reader of snapshots never panics, never goes on without end, and gives
//! records that are in the file, from the newest to the oldest, of which at most one of each key is current.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use vault_kms_plugin::etcd::snapshot;

/// Where the fields of a meta page begin, and how many bytes its checksum is of.
const META: usize = 16;
const META_FIELDS: usize = 56;

fuzz_target!(|database: &[u8]| {
    read(database);
    // Else nearly every change of a meta page ends at its checksum.
    let mut database = database.to_vec();
    correct_sum(&mut database);
    let page_size = database.get(META + 8..META + 12).map(|size| {
        let size = size.try_into().expect("four bytes");
        u32::from_le_bytes(size) as usize
    });
    if let Some(second) = page_size.and_then(|size| database.get_mut(size..)) {
        correct_sum(second);
    }
    read(&database);
});

fn read(database: &[u8]) {
    let Ok((revision, records)) = snapshot::read(database, "/registry") else {
        return;
    };
    let mut current = HashSet::new();
    let mut last = revision;
    for record in &records {
        assert!(record.key.starts_with(b"/registry/"));
        assert!(record.key.len() + record.value.len() <= database.len());
        assert!(record.mod_revision <= last);
        last = record.mod_revision;
        assert!(!record.is_current || current.insert(&record.key[..]));
    }
}

fn correct_sum(page: &mut [u8]) {
    let Some(meta) = page.get_mut(META..META + META_FIELDS + 8) else {
        return;
    };
    let (fields, sum) = meta.split_at_mut(META_FIELDS);
    let fnv64a = fields.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    sum.copy_from_slice(&fnv64a.to_le_bytes());
}
