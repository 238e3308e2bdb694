//! What an audit advises, for the model in `keys::model`.

use prost::Message;

use crate::etcd::scan::Record;
use crate::etcd::stored::{EncryptedObject, Stored};
use crate::kmsctl::audit::minimum::minima;
use crate::kmsctl::audit::tally::{Place, Tally};

/// The `min_decryption_version` that an audit names a command for. The objects: their key_ids, and their wrapped seeds.
/// `set` is what Vault has.
pub(crate) fn advised_minimum(objects: &[(&str, &str)], set: u32) -> Option<u32> {
    let mut tally = Tally::new("/registry", 0);
    for (number, (key_id, wrapped)) in objects.iter().enumerate() {
        let object = EncryptedObject {
            encrypted_data: vec![1; 60],
            key_id: (*key_id).to_owned(),
            wrapped: wrapped.as_bytes().to_vec(),
            annotations: std::collections::BTreeMap::default(),
            kind: 1,
        };
        let mut value = b"k8s:enc:kms:v2:vault:".to_vec();
        value.extend(object.encode_to_vec());
        let record = Record {
            key: format!("/registry/secrets/default/{number}")
                .into_bytes()
                .into(),
            value: value.into(),
            mod_revision: 1,
            is_current: true,
        };
        let stored = Stored::parse(&record.value);
        tally.add(&record, stored.as_ref(), Place::Audited);
    }
    let keys: Vec<_> = tally.uses.keys().cloned().collect();
    let [key] = keys.as_slice() else {
        return None;
    };
    let set = (key.clone(), set);
    let minimum = minima(&tally, Some(&set)).pop()?;
    minimum.safe_minimum.filter(|_| minimum.command.is_some())
}
