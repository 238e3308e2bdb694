//! `audit --verify` of what bao-kms-provider wrote, by the daemon's configuration.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use prost::Message;
use serde_json::Value;
use vault_kms_plugin::etcd::stored::EncryptedObject;

use super::site;
use crate::daemon_for;
use crate::harness::kubernetes::Etcd;
use crate::harness::vault::Vault;
use crate::surfaces::bound::{KEY, SEED, Written, reader, with_bound_key, written};

/// A Secret as kube-apiserver stores it, with a key that the plugin wrapped.
fn stored(path: &str, written: &Written) -> Vec<u8> {
    let nonce = [3; 12];
    let object = Payload {
        msg: b"k8s\0\n\x0c\n\x02v1\x12\x06Secret",
        aad: path.as_bytes(),
    };
    let sealed = Aes256Gcm::new(&SEED.into()).encrypt(&nonce.into(), object);
    let annotations = written.annotations.clone();
    let object = EncryptedObject {
        encrypted_data: [&nonce[..], &sealed.unwrap()].concat(),
        key_id: written.key_id.clone(),
        wrapped: written.ciphertext.clone().into_bytes(),
        annotations: annotations.into_iter().collect(),
        kind: 0,
    };
    [b"k8s:enc:kms:v2:openbao:", &object.encode_to_vec()[..]].concat()
}

/// The verification, and the causes of what is unreadable.
async fn verified(etcd: &Etcd, config: &str) -> (Value, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, config).unwrap();
    let report = site::verified(etcd, &file).await;
    (report["verified"].clone(), report["findings"].to_string())
}

async fn what_is_bound_is_verified_with_the_labels_of_the_configuration() {
    let vault = Vault::shared().await;
    let fixture = with_bound_key(vault).await;
    let etcd = Etcd::start().await;
    let whole = written(vault, &fixture.mount, KEY, None).await;
    let mut without = written(vault, &fixture.mount, KEY, None).await;
    without.annotations.remove("key-id-hash.kms.openbao.org");
    // The same seed as the first, stored with other labels.
    let mut other = written(vault, &fixture.mount, KEY, Some("obk2.other")).await;
    other.ciphertext.clone_from(&whole.ciphertext);
    for (name, written) in [("whole", &whole), ("without", &without), ("other", &other)] {
        let path = format!("/registry/secrets/default/{name}");
        etcd.put(path.as_bytes(), &stored(&path, written)).await;
    }
    let right = reader(&fixture.mount, KEY);
    let config = |reader: &str| {
        let builder = daemon_for(&vault.address(), &fixture).extra(reader);
        let token = builder.dir().join("token");
        (builder.config_text(), token, builder)
    };
    let (text, _token, _dir) = config(&right);
    let (found, causes) = verified(&etcd, &text).await;
    assert_eq!(
        (&found["authentic"], &found["unreadable"]),
        (&1.into(), &2.into()),
        "{found}"
    );
    for cause in [
        "its annotation key-id-hash.kms.openbao.org is missing",
        "correct provider_name, cluster_id and instance_id",
    ] {
        assert!(causes.contains(cause), "{cause}: {causes}");
    }
    let (text, _token, _dir) = config(&right.replace("bao-prod-a", "bao-prod-b"));
    let (found, causes) = verified(&etcd, &text).await;
    assert_eq!(found["authentic"], 0, "{found} {causes}");
}

tests! {
    []
    single what_is_bound_is_verified_with_the_labels_of_the_configuration [Vault, Kubernetes];
}
