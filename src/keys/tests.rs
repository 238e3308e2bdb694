//! What the unit tests of the keys share: the key `kms`, and its versions.

use super::{KeyId, ProvenKey};
use crate::vault::{KeyName, KeyVersion, MountPath, Namespace, TransitKey, VersionStamp};

pub(super) fn key() -> TransitKey {
    key_named("kms")
}

pub(super) fn key_named(name: &str) -> TransitKey {
    TransitKey {
        namespace: Namespace::default(),
        mount: MountPath::try_new("transit").expect("mount"),
        name: KeyName::try_new(name).expect("name"),
    }
}

pub(super) fn version(number: u32) -> KeyVersion {
    KeyVersion::try_new(number).expect("version")
}

pub(super) fn stamp(created: i64, number: u32) -> VersionStamp {
    VersionStamp {
        created,
        version: version(number),
    }
}

pub(super) fn proven(created: i64, number: u32) -> ProvenKey {
    let stamp = stamp(created, number);
    ProvenKey {
        key_id: KeyId::new(&key(), stamp),
        stamp,
    }
}
