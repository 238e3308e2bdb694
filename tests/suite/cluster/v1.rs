//! KMS v1 with a real kube-apiserver, and the migration to v2.

use super::super::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use super::super::harness::vault::Vault;
use super::{NAMESPACE, SECRETS, contains, create, create_all, name, read_all, stored};
use crate::shipped;

const KMS_V1: &str = "KMSv1=true";

async fn kube_apiserver_keeps_its_secrets_through_restart_and_rotation_under_v1() {
    let vault = Vault::start().await;
    let (fixture, daemon) = shipped(&vault).await;
    let etcd = Etcd::start().await;
    let encryption = EncryptionConfiguration::v1(daemon.socket());
    let kubernetes = KubeApiserver::start(&etcd, Some(&encryption), Some(KMS_V1)).await;

    create_all(&kubernetes, 0..SECRETS).await;
    let before = stored(&etcd, "k8s:enc:kms:v1:vault:", SECRETS).await;
    assert!(before.iter().all(|bytes| by_version(bytes, 1)));
    kubernetes.kill();
    kubernetes.restart().await;
    read_all(&kubernetes, 0..SECRETS).await;

    vault.rotate(&fixture.mount, &fixture.key).await;
    // Under v1 the very next write uses the new version.
    create(&kubernetes, SECRETS).await;
    let now = stored(&etcd, "k8s:enc:kms:v1:vault:", SECRETS + 1).await;
    let by_new = now.iter().filter(|bytes| by_version(bytes, 2)).count();
    assert_eq!((now.len(), by_new), (SECRETS + 1, 1));
    read_all(&kubernetes, 0..SECRETS + 1).await;
    kubernetes.kill();
    kubernetes.restart().await;
    read_all(&kubernetes, 0..SECRETS + 1).await;
}

fn by_version(bytes: &[u8], version: u32) -> bool {
    contains(bytes, format!("vault:v{version}:").as_bytes())
}

async fn a_cluster_of_two_nodes_moves_from_v1_to_v2_on_one_socket() {
    const OLD: (&str, &str) = ("v1", "vault");
    const NEW: (&str, &str) = ("v2", "vault-v2");
    const EACH: usize = 10;
    let vault = Vault::start().await;
    let (_fixture, daemon) = shipped(&vault).await;
    let etcd = Etcd::start().await;
    let encryption =
        |providers: &[_]| EncryptionConfiguration::providers(daemon.socket(), providers);
    let start = async |providers: &[_]| {
        KubeApiserver::start(&etcd, Some(&encryption(providers)), Some(KMS_V1)).await
    };

    // v1 alone, on the first node; the second one learns to read v2 before anybody writes it.
    let first = start(&[OLD]).await;
    create_all(&first, 0..EACH).await;
    let second = start(&[OLD, NEW]).await;
    create_all(&second, EACH..2 * EACH).await;
    for node in [&first, &second] {
        read_all(node, 0..2 * EACH).await;
    }
    stored(&etcd, "k8s:enc:kms:v1:vault:", 2 * EACH).await;

    // The first node writes v2; each reads what the other writes.
    first.write_encryption(&encryption(&[NEW, OLD]));
    first.restart().await;
    create_all(&first, 2 * EACH..3 * EACH).await;
    create_all(&second, 3 * EACH..4 * EACH).await;
    for node in [&first, &second] {
        read_all(node, 0..4 * EACH).await;
    }

    // The second follows, and everything is encrypted again.
    second.write_encryption(&encryption(&[NEW, OLD]));
    second.restart().await;
    read_all(&second, 0..4 * EACH).await;
    for number in 0..4 * EACH {
        let (code, answer) = first.rewrite_secret(NAMESPACE, &name(number)).await;
        assert_eq!(code, 200, "{answer}");
    }
    stored(&etcd, "k8s:enc:kms:v2:vault-v2:", 4 * EACH).await;
    read_all(&second, 0..4 * EACH).await;

    // v1 goes.
    second.write_encryption(&encryption(&[NEW]));
    second.restart().await;
    read_all(&second, 0..4 * EACH).await;
    create(&second, 4 * EACH).await;
    read_all(&first, 0..4 * EACH + 1).await;
}

tests! {
    multi kube_apiserver_keeps_its_secrets_through_restart_and_rotation_under_v1 [Vault, Kubernetes];
    multi a_cluster_of_two_nodes_moves_from_v1_to_v2_on_one_socket [Vault, Kubernetes];
}
