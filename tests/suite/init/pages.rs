//! The pages of docs/install name what `init` writes, and their commands work as far as the real thing is here.

use std::fs;
use std::path::Path;

use super::{SOCKET, Site, root};
use crate::documents::markdown::Page;
use crate::harness::kubernetes::{Etcd, KubeApiserver};
use crate::harness::operator;
use crate::harness::vault::Vault;

fn page(name: &str) -> Page {
    Page::read(&root().join("docs/install").join(name))
}

/// A part that a page shows is what `init` writes.
fn the_pages_show_what_init_writes() {
    for (name, section, platform, file, more) in [
        (
            "kubeadm.md",
            "New cluster",
            "kubeadm",
            "kubeadm-apiserver.yaml",
            &[][..],
        ),
        (
            "k3s.md",
            "Readers on every server",
            "k3s",
            "k3s-config.yaml",
            &[],
        ),
        (
            "rke2.md",
            "Readers on every server",
            "rke2",
            "rke2-config.yaml",
            &[],
        ),
        (
            "k0s.md",
            "Readers on every controller",
            "k0s",
            "k0s-api.yaml",
            &[],
        ),
    ] {
        let arguments = [&["--platform", platform, "--auth", "token"], more].concat();
        let site = Site::new("https://vault.example:8200", &arguments);
        let shown = page(name).blocks(section, "yaml");
        assert_eq!(shown, [site.file(file)], "{name}");
    }
    let arguments = [
        "--platform",
        "kubeadm",
        "--auth",
        "token",
        "--kubeadm-api",
        "v1beta3",
    ];
    let site = Site::new("https://vault.example:8200", &arguments);
    let shown = page("kubeadm.md").blocks("Kubernetes 1.30 and earlier", "yaml");
    let written = site.file("kubeadm-apiserver.yaml");
    assert!(written.starts_with(&shown.concat()), "{written}");
}

/// Every `vault-kms-plugin init` of the pages is accepted as it is written.
fn the_commands_of_the_pages_are_accepted() {
    let mut count = 0;
    for entry in fs::read_dir(root().join("docs/install")).unwrap() {
        let path = entry.unwrap().path();
        let page = Page::read(&path);
        for section in page.sections_with("sh") {
            for block in page.blocks(section, "sh") {
                let joined = block.replace("\\\n", " ");
                for line in joined
                    .lines()
                    .filter(|line| line.starts_with("vault-kms-plugin init "))
                {
                    count += 1;
                    let dir = tempfile::tempdir().unwrap();
                    let arguments: Vec<_> = line.split_whitespace().skip(2).collect();
                    let ended = super::init(dir.path(), &arguments);
                    let said = super::text(&ended.stderr);
                    assert!(ended.status.success(), "{}: {line}: {said}", path.display());
                    assert!(
                        dir.path()
                            .join("vault-kms-plugin-files/config.toml")
                            .exists()
                    );
                }
            }
        }
    }
    assert!(count >= 6, "{count} commands");
}

/// Nodes with different releases of the plugin are compared, too: a release may not change them.
async fn the_fingerprints_of_the_page_are_those_of_its_example() {
    let more = [
        "--platform",
        "kubeadm",
        "--ca-file",
        "/etc/vault-kms-plugin/ca.pem",
        "--auth",
        "token",
    ];
    let site = Site::new("https://vault.example:8200", &more);
    let page = Page::read(&root().join("docs/operations/control-plane-nodes.md"));
    let shown = page.blocks("Comparing nodes", "").concat();
    let config = site.path("config.toml").display().to_string();
    let writer = site.path("encryption-2-writer.yaml");
    let typed = page
        .blocks("Comparing nodes", "sh")
        .concat()
        .replace(
            "vault-kms-plugin check",
            &format!("{} check --config {config}", super::PROGRAM),
        )
        .replace(
            "/etc/kubernetes/enc/encryption.yaml",
            writer.to_str().unwrap(),
        );
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(operator::run(dir.path(), &typed, &[]).await, shown);
}

/// What RKE2 writes: the form is from its sources (k3s's `pkg/secretsencrypt`).
pub(super) const OF_RKE2: &str = r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"aescbc":{"keys":[{"name":"aescbckey","secret":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}]}},{"identity":{}}]}]}"#;

/// The commands of the page, in this directory, with the files of RKE2 below it.
async fn made(name: &str, section: &str, file: &str, dir: &Path) {
    let place = dir.join("encryption-config.json");
    fs::write(&place, OF_RKE2).unwrap();
    let blocks = page(name).blocks(section, "sh");
    let [block] = blocks.as_slice() else {
        panic!("{name}: {blocks:?}");
    };
    assert!(block.contains(file), "{block}");
    let block = block.replace(file, &place.display().to_string());
    operator::run(dir, &block, &[]).await;
}

async fn the_plugin_joins_a_provider_that_is_there_and_nothing_becomes_unreadable() {
    let vault = Vault::start().await;
    let arguments = ["--platform", "rke2", "--auth", "token"];
    let site = Site::new(&vault.address(), &arguments);
    site.set_up(&vault, "").await;
    site.set_up(&vault, "node cp-1").await;
    let daemon = site.ready().await;
    let socket = daemon.socket().display().to_string();
    let dir = tempfile::tempdir().unwrap();
    made(
        "rke2.md",
        "Files of kube-apiserver",
        "/var/lib/rancher/rke2/server/cred/encryption-config.json",
        dir.path(),
    )
    .await;
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let (readers, writer) = (
        read("encryption-1-readers.yaml"),
        read("encryption-2-writer.yaml"),
    );
    // The page of k3s has the same commands for the same file.
    let other = tempfile::tempdir().unwrap();
    fs::create_dir(other.path().join("vault-kms-plugin-files")).unwrap();
    made(
        "k3s.md",
        "If k3s encrypts already",
        "/var/lib/rancher/k3s/server/cred/encryption-config.json",
        other.path(),
    )
    .await;
    let files = other.path().join("vault-kms-plugin-files");
    let same = |name: &str| fs::read_to_string(files.join(name)).unwrap() == read(name);
    assert!(same("encryption-1-readers.yaml") && same("encryption-2-writer.yaml"));

    let at_the_socket = |text: &str| text.replace(SOCKET, &socket);
    let etcd = Etcd::start().await;
    let kubernetes = KubeApiserver::start(&etcd, Some(OF_RKE2), None).await;
    let create = async |name: &str| {
        let (code, answer) = kubernetes.create_secret("default", name, name).await;
        assert_eq!(code, 201, "{answer}");
        let stored = etcd
            .range(&format!("/registry/secrets/default/{name}"))
            .await;
        String::from_utf8_lossy(&stored[0].1[..16]).into_owned()
    };
    assert!(create("before").await.starts_with("k8s:enc:aescbc:"));
    kubernetes.write_encryption(&at_the_socket(&readers));
    kubernetes.restart().await;
    assert!(create("step-1").await.starts_with("k8s:enc:aescbc:"));
    kubernetes.write_encryption(&at_the_socket(&writer));
    kubernetes.restart().await;
    assert!(create("step-2").await.starts_with("k8s:enc:kms:v2:"));
    for name in ["before", "step-1", "step-2"] {
        let read = kubernetes.read_secret("default", name).await;
        assert_eq!(read.as_deref(), Ok(name));
    }
    // Back on the first step, what the plugin wrote stays readable.
    kubernetes.write_encryption(&at_the_socket(&readers));
    kubernetes.restart().await;
    let read = kubernetes.read_secret("default", "step-2").await;
    assert_eq!(read.as_deref(), Ok("step-2"));
}

tests! {
    plain the_pages_show_what_init_writes [Vault];
    single the_fingerprints_of_the_page_are_those_of_its_example [Vault];
    plain the_commands_of_the_pages_are_accepted;
    multi the_plugin_joins_a_provider_that_is_there_and_nothing_becomes_unreadable [Vault, Kubernetes];
}
