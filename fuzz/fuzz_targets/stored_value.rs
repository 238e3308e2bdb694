//! Any bytes in place of a stored value: no panic, and every part is a part of the value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vault_kms_plugin::etcd::stored::{Stored, transit_version};

fuzz_target!(|value: &[u8]| {
    let Ok(stored) = Stored::parse(value) else {
        return;
    };
    let length = match &stored {
        Stored::Plain(_) => 0,
        Stored::Local(local) => local.key_name.len() + local.data.len(),
        Stored::KmsV1(kms) => {
            let _ = transit_version(kms.wrapped);
            kms.provider.len() + kms.wrapped.len() + kms.data.len()
        }
        Stored::KmsV2(kms) => kms.provider.len() + kms.object.encrypted_data.len(),
    };
    assert!(length < value.len());
    let _ = stored.provider().to_string();
});
