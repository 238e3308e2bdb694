//! docs/migrate/from-aescbc-or-secretbox.md: followed to its end, and back.

use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Etcd, Page, Shell, assert_readable, root, write_all};
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::kubernetes::KubeApiserver;
use crate::harness::vault::Vault;
use crate::{LIMIT, daemon_for};

const FILE: &str = "/etc/kubernetes/enc/encryption.yaml";
const SECRETS: usize = 30;

/// Two nodes that follow the page.
struct Nodes {
    provider: &'static str,
    daemon: Daemon,
    etcd: Etcd,
    servers: Vec<KubeApiserver>,
    shell: Shell,
    file: PathBuf,
    page: Page,
}

impl Nodes {
    async fn start(provider: &'static str) -> Self {
        let vault = Vault::shared().await;
        let fixture = vault.fixture().await;
        let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
        KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
        let etcd = Etcd::start().await;
        let page = Page::read(&root().join("docs/migrate/from-aescbc-or-secretbox.md"));
        let shell = Shell::new().set(
            "VAULT_KMS_PLUGIN_CONFIG",
            daemon.config_path().to_str().unwrap(),
        );
        let file = shell.dir.path().join("encryption.yaml");
        let shell = shell.means(FILE, file.to_str().unwrap());
        let mut nodes = Self {
            provider,
            daemon,
            etcd,
            servers: Vec::new(),
            shell,
            file,
            page,
        };
        let first = nodes.yaml("Starting point");
        for _ in 0..2 {
            nodes
                .servers
                .push(KubeApiserver::start(&nodes.etcd, Some(&first), None).await);
        }
        std::fs::write(&nodes.file, first).unwrap();
        nodes.shell = nodes.shell.of_cluster(&nodes.servers[0], &nodes.etcd);
        nodes
    }

    /// The file of a section, with this provider, a key, and the place of the socket.
    fn yaml(&self, section: &str) -> String {
        let blocks = self.page.blocks(section, "yaml");
        assert_eq!(blocks.len(), 1, "{section}");
        let socket = format!("unix://{}", self.daemon.socket().display());
        blocks[0]
            .replace("aescbc", self.provider)
            .replace("BASE64_OF_THE_KEY", &STANDARD.encode([3; 32]))
            .replace("unix:///run/vault-kms-plugin/kms.sock", &socket)
    }

    /// One node after the other; in between, each reads what the other one writes.
    async fn configure(&self, section: &str, step: &str) {
        let yaml = self.yaml(section);
        std::fs::write(&self.file, &yaml).unwrap();
        for (node, server) in self.servers.iter().enumerate() {
            server.write_encryption(&yaml);
            server.restart().await;
            let prefix = format!("{step}-{node}");
            write_all(server, &prefix, 2).await;
            for reader in &self.servers {
                assert_readable(reader, &prefix, 2).await;
                assert_readable(reader, "first", SECRETS).await;
            }
        }
    }

    async fn run(&self, section: &str) -> String {
        let printed = self.shell.run(&self.page.blocks(section, "sh")).await;
        eprintln!("{section}\n{printed}");
        printed
    }

    /// Who wrote what is in etcd now.
    async fn assert_written_by(&self, start: &str) {
        for (key, value) in self.etcd.range("/registry/secrets/").await {
            let key = String::from_utf8_lossy(&key).into_owned();
            assert!(value.starts_with(start.as_bytes()), "{key}: {start}");
        }
    }
}

async fn there_and_back(provider: &'static str) {
    let nodes = Nodes::start(provider).await;
    let theirs = format!("k8s:enc:{provider}:v1:key1:");
    write_all(&nodes.servers[0], "first", SECRETS).await;
    nodes.run("Prepare").await;
    nodes.configure("Let every node read", "read").await;
    let checked = nodes.run("Let every node read").await;
    assert!(checked.contains("[+]kms-provider"), "{checked}");
    nodes.assert_written_by(&theirs).await;
    nodes.configure("Let Vault write", "write").await;
    nodes.run("Encrypt what is there").await;
    nodes.assert_written_by("k8s:enc:kms:v2:vault:").await;

    // Back, before the old key is gone.
    nodes.configure("Let every node read", "back").await;
    nodes.run("Rollback").await;
    nodes.assert_written_by(&theirs).await;

    // And again, to the end.
    nodes.configure("Let Vault write", "again").await;
    nodes.run("Encrypt what is there").await;
    nodes.configure("Remove the old key", "end").await;
    nodes.assert_written_by("k8s:enc:kms:v2:vault:").await;
    for prefix in ["read-0", "write-1", "back-0", "again-1", "end-1"] {
        assert_readable(&nodes.servers[1], prefix, 2).await;
    }
}

async fn objects_of_aescbc_move_to_vault_and_back_by_the_guide() {
    there_and_back("aescbc").await;
}

async fn objects_of_secretbox_move_to_vault_and_back_by_the_guide() {
    there_and_back("secretbox").await;
}

async fn objects_of_aesgcm_move_to_vault_and_back_by_the_guide() {
    there_and_back("aesgcm").await;
}

tests! {
    multi objects_of_aescbc_move_to_vault_and_back_by_the_guide [Vault, Kubernetes, Kubectl];
    multi objects_of_secretbox_move_to_vault_and_back_by_the_guide [Vault, Kubernetes, Kubectl];
    multi objects_of_aesgcm_move_to_vault_and_back_by_the_guide [Vault, Kubernetes, Kubectl] soak "as the two others; kube-apiserver's keys of this form wear out";
}
