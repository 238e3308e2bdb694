//! Any bytes in place of a stored value: no panic, and what is accepted is what is written of its parts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use vault_kms_plugin::etcd::stored::{KmsV2, Stored, transit_version};

fuzz_target!(|value: &[u8]| {
    let Ok(stored) = Stored::parse(value) else {
        return;
    };
    match &stored {
        Stored::Plain(_) => {}
        Stored::Local(local) => {
            let prefix = format!("k8s:enc:{}:v1:{}:", local.kind.as_str(), local.key_name);
            assert_eq!([prefix.as_bytes(), local.data].concat(), value);
        }
        Stored::KmsV1(kms) => {
            let _ = transit_version(kms.wrapped);
            let prefix = format!("k8s:enc:kms:v1:{}:", kms.provider);
            let length = u16::try_from(kms.wrapped.len()).expect("two bytes have it");
            let parts = [prefix.as_bytes(), &length.to_be_bytes(), kms.wrapped, kms.data];
            assert_eq!(parts.concat(), value);
        }
        // The order of fields is free, and unknown ones are ignored.
        Stored::KmsV2(KmsV2 { provider, object }) => {
            let prefix = format!("k8s:enc:kms:v2:{provider}:");
            let written = [prefix.into_bytes(), object.encode_to_vec()].concat();
            assert_eq!(Stored::parse(&written).as_ref(), Ok(&stored));
        }
    }
    let _ = stored.provider().to_string();
});
