//! What the unit tests of the keys share: the key `kms`, and its versions.

use std::sync::Arc;

use tokio::time::Instant;

use super::{KeyId, ProvenKey};
use crate::session::{Session, SessionView};
use crate::system::clock::Moment;
use crate::vault::{
    KeyName, KeyVersion, Lease, MountPath, Namespace, Token, TransitKey, VersionStamp,
};

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

/// A session that is in use.
pub(super) fn logged_in() -> SessionView {
    let lease = Lease {
        ttl: None,
        renewable: false,
        num_uses: 0,
    };
    SessionView {
        current: Some(Arc::new(Session {
            token: Arc::new(Token::try_new("t").expect("token")),
            generation: 1,
            obtained: Instant::now(),
            lease,
            expires: None,
            leased: Moment::now(),
        })),
        ..SessionView::default()
    }
}
