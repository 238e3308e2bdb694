//! Values that bao-kms-provider wrote: each ciphertext is bound to its labels, which Transit takes as
//! associated data. They are rebuilt from the key_id, the annotations and the configuration.
//!
//! The form is that of `internal/aad/aad.go` of dc-tec/openbao-kubernetes-kms. No value is ever decrypted
//! without its associated data.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::sha256::sha256;
use crate::vault::{AssociatedData, KeyVersion, TransitKey};

/// The plugin whose values can be read: the value of `associated_data`.
pub const BOUND_BY: &str = "bao-kms-provider";
/// What its key_ids begin with.
const KEY_ID_PREFIX: &str = "obk2.";
/// What its annotations end with.
const ANNOTATIONS: &str = ".kms.openbao.org";
const PROVIDER: &str = "provider.kms.openbao.org";
const FORM: &str = "aad-version.kms.openbao.org";
const KEY_ID_HASH: &str = "key-id-hash.kms.openbao.org";
const KEY_VERSION: &str = "transit-key-version.kms.openbao.org";
const MOUNT_HASH: &str = "transit-mount-hash.kms.openbao.org";
const KEY_HASH: &str = "transit-key-hash.kms.openbao.org";
/// Only where that plugin had a namespace.
const NAMESPACE_HASH: &str = "openbao-namespace-hash.kms.openbao.org";
/// The only provider, and the only form, that there are.
const OPENBAO_TRANSIT: &str = "openbao-transit";
const FORM_V1: &str = "v1";

/// The annotations of a value.
pub type Annotations = HashMap<String, Vec<u8>>;

/// A key that only decrypts, and what its values are bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundKey {
    /// The key.
    pub key: TransitKey,
    /// What its values do not carry themselves.
    pub labels: BoundLabels,
    /// Its entry in the configuration, such as `transit.decrypt_also.0`.
    pub table: String,
}

/// The labels that a value does not carry itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundLabels {
    /// `transit.keyIdScope.providerName` of that plugin.
    pub provider_name: String,
    /// `transit.keyIdScope.clusterId`.
    pub cluster_id: String,
    /// `openbao.instanceId`.
    pub instance_id: String,
}

/// The labels that a value carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CarriedLabels {
    version: KeyVersion,
    key_id_hash: String,
    mount_hash: String,
    key_hash: String,
    namespace_hash: Option<String>,
}

impl BoundLabels {
    /// Checks one of the labels.
    ///
    /// # Errors
    /// If it has a control character, which no label of that plugin has.
    pub fn check(text: &str) -> Result<String, &'static str> {
        if text.chars().any(char::is_control) {
            return Err("must not have a control character");
        }
        Ok(text.to_owned())
    }

    /// The associated data of a value that carries the others.
    pub(crate) fn associated_data(&self, carried: &CarriedLabels) -> AssociatedData {
        AssociatedData::new(self.canonical(carried).as_bytes())
    }

    /// The JSON, byte for byte as Go's `json.Marshal` writes it. Hashes need no escapes.
    fn canonical(&self, carried: &CarriedLabels) -> String {
        let namespace = carried
            .namespace_hash
            .as_ref()
            .map(|hash| format!("\"openbao_namespace_hash\":\"{hash}\","));
        format!(
            "{{\"aad_version\":\"{FORM_V1}\",\"purpose\":\"kubernetes-etcd-kms-v2\",\
             \"provider\":\"{OPENBAO_TRANSIT}\",\"provider_name\":{},\"cluster_id_hash\":\"{}\",\
             \"openbao_instance_hash\":\"{}\",{}\"transit_mount_hash\":\"{}\",\"transit_key_hash\":\"{}\",\
             \"key_id_hash\":\"{}\",\"key_version\":\"{}\"}}",
            go_string(&self.provider_name),
            hash(&self.cluster_id),
            hash(&self.instance_id),
            namespace.unwrap_or_default(),
            carried.mount_hash,
            carried.key_hash,
            carried.key_id_hash,
            carried.version.get(),
        )
    }
}

/// Whether that plugin wrote a value, as far as its key_id or its annotations say so.
pub(crate) fn is_bound(key_id: Option<&str>, annotations: Option<&Annotations>) -> bool {
    let mut names = annotations.into_iter().flat_map(HashMap::keys);
    has_bound_key_id(key_id) || names.any(|name| name.ends_with(ANNOTATIONS))
}

/// Whether the key_id alone says so.
pub(super) fn has_bound_key_id(key_id: Option<&str>) -> bool {
    key_id.is_some_and(|key_id| key_id.starts_with(KEY_ID_PREFIX))
}

impl CarriedLabels {
    /// Reads the labels of a value with a ciphertext of this version.
    ///
    /// # Errors
    /// What is missing, or contradicts the key_id or the ciphertext.
    pub(crate) fn read(
        key_id: Option<&str>,
        annotations: Option<&Annotations>,
        version: KeyVersion,
    ) -> Result<Self, String> {
        let none = Annotations::new();
        let annotations = annotations.unwrap_or(&none);
        let key_id = key_id.filter(|key_id| has_bound_key_id(Some(*key_id)));
        let key_id =
            key_id.ok_or("its key_id is none of that plugin, though its annotations are")?;
        let text = |name: &str| {
            let value = annotations.get(name).filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| format!("its annotation {name} is missing"))?;
            std::str::from_utf8(value).map_err(|_| format!("its annotation {name} is no text"))
        };
        for (name, expected) in [(PROVIDER, OPENBAO_TRANSIT), (FORM, FORM_V1)] {
            let found = text(name)?;
            if found != expected {
                return Err(format!(
                    "its annotation {name} is {found:?}, not {expected:?}"
                ));
            }
        }
        let hash_in = |name: &str| {
            let text = text(name)?;
            let is_hash = URL_SAFE_NO_PAD.decode(text).is_ok_and(|it| it.len() == 32);
            is_hash
                .then(|| text.to_owned())
                .ok_or_else(|| format!("its annotation {name} is no SHA-256 in base64url"))
        };
        let labels = Self {
            version,
            key_id_hash: hash_in(KEY_ID_HASH)?,
            mount_hash: hash_in(MOUNT_HASH)?,
            key_hash: hash_in(KEY_HASH)?,
            namespace_hash: if annotations.contains_key(NAMESPACE_HASH) {
                Some(hash_in(NAMESPACE_HASH)?)
            } else {
                None
            },
        };
        if labels.key_id_hash != hash(key_id) {
            return Err(format!(
                "its annotation {KEY_ID_HASH} is not that of its key_id"
            ));
        }
        let theirs = text(KEY_VERSION)?;
        if theirs != version.get().to_string() {
            let own = version.get();
            return Err(format!(
                "its annotation {KEY_VERSION} is {theirs:?}, and its ciphertext is of version {own}"
            ));
        }
        Ok(labels)
    }
}

/// The keys as an error names them.
pub(crate) fn named(keys: &[BoundKey]) -> String {
    let one = |bound: &BoundKey| format!("{} ({})", bound.key, bound.table);
    keys.iter().map(one).collect::<Vec<_>>().join(" or ")
}

/// SHA-256 in base64url, as the labels have it.
fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(text.as_bytes()))
}

/// A string as Go writes it into JSON, which escapes what HTML and JavaScript would take for more.
fn go_string(text: &str) -> String {
    let mut json = serde_json::Value::from(text).to_string();
    for (character, escape) in [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ] {
        json = json.replace(character, escape);
    }
    json
}

#[cfg(test)]
mod tests;
