//! docs/operations/re-encryption.md.

use serde_json::json;

use super::{
    NAMESPACE, Page, Shell, Site, assert_readable, page, root, value_of, write, write_all,
};
use crate::harness::kubernetes::KubeApiserver;
use crate::harness::vault::Vault;

/// Three pages of a list, and a bit.
const SECRETS: usize = 70;
const KMS: (&str, &str) = ("v2", "vault");

fn install_page() -> Page {
    Page::read(&root().join("docs/install/kube-apiserver.md"))
}

/// An object that kube-apiserver lets nobody change.
async fn write_immutable(kubernetes: &KubeApiserver) {
    let body = json!({ "metadata": { "name": "fixed" }, "immutable": true });
    let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
    kubernetes.expect("POST", &path, Some(body)).await;
}

/// Other writers meanwhile: objects change, and go.
async fn disturb(kubernetes: &KubeApiserver) {
    for number in 0..SECRETS / 2 {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/passing-{number}");
        kubernetes.expect("DELETE", &path, None).await;
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/busy-{number}");
        let mut secret = kubernetes.expect("GET", &path, None).await;
        secret["metadata"]["labels"] = json!({ "changed": "yes" });
        kubernetes.request("PUT", &path, Some(secret)).await;
    }
}

async fn the_loop_of_the_page_leaves_nothing_behind_and_the_count_shows_it() {
    let vault = Vault::start().await;
    let fixture = vault.fixture().await;
    let site = Site::start(&vault, &fixture, &[]).await;
    let Site {
        kubernetes, etcd, ..
    } = &site;
    for prefix in ["kept", "busy", "passing"] {
        write_all(kubernetes, prefix, SECRETS).await;
    }
    write_immutable(kubernetes).await;
    kubernetes.create_namespace("other").await;
    let (code, _) = kubernetes.create_secret("other", "kept", "x").await;
    assert_eq!(code, 201);
    let shell = Shell::new().of_vault(&vault, &fixture);
    let shell = shell.of_cluster(kubernetes, etcd);
    let counts = shell.count().await;
    let all = 3 * SECRETS + 2;
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        [("not encrypted".to_owned(), all)]
    );

    // Encryption is enabled; nothing is encrypted before it is written again.
    site.configure(&[KMS]);
    kubernetes.restart().await;
    assert_eq!(shell.count().await["not encrypted"], all);
    let first = install_page().blocks("Re-encryption of existing data", "sh");
    let checked = shell.run(&first).await;
    assert!(checked.contains("[+]kms-providers ok"), "{checked}");
    let (printed, ()) = tokio::join!(shell.rewrite(), disturb(kubernetes));
    assert!(printed.contains("done"), "{printed}");
    let left = all - SECRETS / 2;
    let only = async |version: &str| {
        let counts = shell.count().await;
        let [(what, count)] = counts.iter().collect::<Vec<_>>()[..] else {
            panic!("{counts:?}");
        };
        let start = format!(
            "k8s:enc:kms:v2:vault: transit1::{}:kms:{version}:",
            fixture.mount
        );
        assert!(what.starts_with(&start), "{what}");
        *count
    };
    assert_eq!(only("v1").await, left);

    // A rotation leaves the old version in etcd until the next run.
    site.rotate(&shell).await;
    let counts = shell.count().await;
    assert!(counts.len() == 2, "{counts:?}");
    shell.rewrite().await;
    assert!(only("v2").await > left);

    // A resource of a group, whose lists name another API.
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let shell = Shell::new().of_cluster(kubernetes, etcd);
    let printed = shell.means("/api/v1/secrets", roles).rewrite().await;
    assert!(printed.contains("done"), "{printed}");

    // So `identity` and the old version can go.
    site.configure_without_identity(&[KMS]);
    let minimum = json!({ "min_decryption_version": 2 });
    vault
        .configure_key(&fixture.mount, &fixture.key, minimum)
        .await;
    kubernetes.restart().await;
    for prefix in ["kept", "busy"] {
        assert_readable(kubernetes, prefix, SECRETS).await;
    }
}

async fn the_proof_in_etcd_is_printed_by_the_command_of_its_page() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture, &[KMS]).await;
    write(&site.kubernetes, "proof").await;
    let shell = Shell::new().set("ETCDCTL_ENDPOINTS", &site.etcd.address());
    let commands = page("verify.md").blocks("Inspection of your own data", "sh");
    let printed = shell.run(&commands).await;
    assert!(printed.contains("encrypted by KMS v2"), "{printed}");
    assert!(printed.contains("key_id      transit1::"), "{printed}");
}

async fn a_snapshot_of_before_still_holds_the_plaintext() {
    let vault = Vault::start().await;
    let fixture = vault.fixture().await;
    let site = Site::start(&vault, &fixture, &[]).await;
    let Site {
        kubernetes, etcd, ..
    } = &site;
    write_all(kubernetes, "old", 1).await;
    let shell = Shell::new().of_cluster(kubernetes, etcd);
    let holds_plaintext = async |name: &str| {
        let save = format!("etcdctl snapshot save {name}");
        shell.run(&[save]).await;
        let file = std::fs::read(shell.dir.path().join(name)).unwrap();
        let text = value_of("old-0");
        file.windows(text.len()).any(|part| part == text.as_bytes())
    };
    assert!(holds_plaintext("before.db").await);
    site.configure(&[KMS]);
    kubernetes.restart().await;
    shell.rewrite().await;
    // etcd keeps the revision of before until it is compacted and its file is written again.
    assert!(holds_plaintext("after.db").await);
    let compact = "etcdctl compact --physical $(etcdctl get / -w json | jq .header.revision)\n";
    let mut commands = vec![compact.to_owned()];
    commands.extend(page("re-encryption.md").blocks("Afterwards", "console"));
    shell.run(&commands).await;
    assert!(!holds_plaintext("compacted.db").await);
}

tests! {
    multi the_loop_of_the_page_leaves_nothing_behind_and_the_count_shows_it [Vault, Kubernetes, EtcdTools, Kubectl];
    multi the_proof_in_etcd_is_printed_by_the_command_of_its_page [Vault, Kubernetes, EtcdTools, Kubectl];
    multi a_snapshot_of_before_still_holds_the_plaintext [Vault, Kubernetes, EtcdTools, Kubectl];
}
