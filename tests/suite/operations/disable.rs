//! docs/operations/disable.md.

use super::{IDENTITY, Shell, Site, assert_readable, is_readable, page, write, write_all};
use crate::harness::kubernetes::{EncryptionConfiguration, KubeApiserver};
use crate::harness::vault::Vault;

const KMS: (&str, &str) = ("v2", "vault");
const SECRETS: usize = 30;
const SOCKET: &str = "/run/vault-kms-plugin/kms.sock";

async fn encryption_is_disabled_node_by_node_and_the_plugin_removed() {
    let vault = Vault::start().await;
    let fixture = vault.fixture().await;
    let first = Site::start(&vault, &fixture, &[KMS]).await;
    // As after the first re-encryption.
    first.configure_without_identity(&[KMS]);
    let Site {
        daemon,
        etcd,
        kubernetes,
    } = first;
    kubernetes.restart().await;
    let reading = EncryptionConfiguration::v2(daemon.socket());
    let encrypting = reading.replace(IDENTITY, "");
    let second = KubeApiserver::start(&etcd, Some(&encrypting), None).await;
    write_all(&kubernetes, "old", SECRETS).await;

    // Both can read what neither writes yet.
    for node in [&kubernetes, &second] {
        node.write_encryption(&reading);
        node.restart().await;
    }
    // The first node writes unencrypted, the second one does not yet.
    let blocks = page("disable.md").blocks("Write unencrypted", "yaml");
    let [yaml] = blocks.as_slice() else {
        panic!("{blocks:?}");
    };
    let socket = daemon.socket().to_str().unwrap();
    let yaml = yaml.replace(SOCKET, socket);
    assert!(yaml.contains(socket), "{yaml}");
    kubernetes.write_encryption(&yaml);
    kubernetes.restart().await;
    write(&kubernetes, "by-first").await;
    write(&second, "by-second").await;
    for node in [&kubernetes, &second] {
        assert_readable(node, "old", SECRETS).await;
        for name in ["by-first", "by-second"] {
            assert!(is_readable(node, name).await);
        }
    }
    second.write_encryption(&yaml);
    second.restart().await;

    let shell = Shell::new().of_cluster(&kubernetes, &etcd);
    let encrypted = shell.count().await.into_iter();
    let encrypted = encrypted.filter(|(what, _)| what.starts_with("k8s:enc:kms:v2:vault:"));
    assert_eq!(
        encrypted.map(|(_, count)| count).sum::<usize>(),
        SECRETS + 1
    );
    shell.rewrite().await;
    let counts: Vec<_> = shell.count().await.into_iter().collect();
    assert_eq!(counts, [("not encrypted".to_owned(), SECRETS + 2)]);

    // Without provider and plugin everything is still there.
    assert_eq!(daemon.stop().await, 0);
    let bare = KubeApiserver::start(&etcd, None, None).await;
    assert_readable(&bare, "old", SECRETS).await;
    write(&bare, "new").await;
}

tests! {
    multi encryption_is_disabled_node_by_node_and_the_plugin_removed [Vault, Kubernetes, EtcdTools, Kubectl];
}
