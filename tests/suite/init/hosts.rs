//! docs/install/hosts.md and the pages that build on it, on a booted machine without k3s, RKE2 or k0s: what
//! the commands leave there is what those would find.

use std::fs;

use super::{PROGRAM, SOCKET, Site, root};
use crate::LIMIT;
use crate::documents::markdown::Page;
use crate::harness::certificates::Certificates;
use crate::harness::child::free_port;
use crate::harness::kms::KmsClient;
use crate::harness::machine::{Machine, Plan};
use crate::harness::vault::Vault;

/// Where the operator of the node has the copies.
const HOME: &str = "/srv/kms";

struct Host {
    machine: Machine,
    site: Site,
    vault: Vault,
}

impl Host {
    /// A machine with the copies that the page asks for, and the program.
    async fn new(platform: &str) -> Self {
        let vault = Vault::start().await;
        let ca_file = "/etc/vault-kms-plugin/ca.pem";
        let arguments = [
            "--platform",
            platform,
            "--auth",
            "token",
            "--ca-file",
            ca_file,
        ];
        let site = Site::new(&vault.address(), &arguments);
        site.set_up(&vault, "").await;
        site.set_up(&vault, "node cp-1").await;
        let ca = Certificates::new().ca_pem();
        let mut plan = Plan::new()
            .program(PROGRAM.as_ref(), "/usr/local/bin/vault-kms-plugin")
            .file(&format!("{HOME}/ca.pem"), &ca)
            .file(
                &format!("{HOME}/vault-kms-plugin.token"),
                &site.file("nodes/cp-1/token"),
            );
        for entry in fs::read_dir(site.path("")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name != "nodes" {
                let mut content = site.file(&name);
                if name == "config.toml" {
                    // Tests share the network of this host, and so its ports.
                    let port = free_port();
                    content.push_str(&format!("[admin]\nlisten = \"127.0.0.1:{port}\"\n"));
                }
                let path = format!("{HOME}/vault-kms-plugin-files/{name}");
                plan = plan.file(&path, &content);
            }
        }
        let machine = plan.boot().await;
        Self {
            machine,
            site,
            vault,
        }
    }

    async fn run(&self, block: &str) -> String {
        let path = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let text = format!("cd {HOME}; export HOME=/root PATH={path}\n{block}");
        let command = ["bash", "-euo", "pipefail", "-c", &text];
        self.machine.ok(&command).await
    }

    /// Runs the commands of a section.
    async fn follow(&self, page: &str, section: &str) -> String {
        let page = Page::read(&root().join("docs/install").join(page));
        let blocks = page.blocks(section, "sh");
        assert!(!blocks.is_empty(), "no commands in {section}");
        let mut said = String::new();
        for block in blocks {
            // Of a section with `init` itself only what follows runs on the node.
            if !block.starts_with("vault-kms-plugin init") {
                said.push_str(&self.run(&block).await);
            }
        }
        said
    }

    /// Installs the plugin as the page says; it serves, with the fingerprint of `init`.
    async fn install(&self) {
        let said = self.follow("hosts.md", "Plugin").await;
        assert!(said.contains("✓ round trip"), "{said}");
        let mut lines = said.lines();
        let fingerprint = lines.find_map(|line| line.strip_prefix("configuration "));
        let fingerprint = fingerprint.unwrap();
        let printed = format!("fingerprint of the configuration: {fingerprint}\n");
        assert!(self.site.said.contains(&printed), "{said}");
        self.serves().await;
    }

    async fn serves(&self) {
        let client = KmsClient::connect(self.machine.path(SOCKET));
        client.wait_ok(LIMIT).await;
        assert_eq!(self.vault.health().await, Some(200));
    }

    /// Whether a process of this user, which may read the files of the plugin, is served.
    async fn admits(&self, user: &str) -> bool {
        let command = format!(
            "setpriv --reuid {user} --regid vault-kms-plugin --clear-groups vault-kms-plugin check --running || true"
        );
        let said = self.run(&command).await;
        assert!(said.contains(" running: "), "{said}");
        said.contains("✓ running: ")
    }
}

async fn a_host_serves_with_the_files_of_init() {
    let host = Host::new("systemd").await;
    host.install().await;
    assert!(!host.admits("nobody").await);
    // It is enabled, and a restart keeps the socket of systemd.
    let enabled = "systemctl is-enabled vault-kms-plugin.service vault-kms-plugin.socket";
    assert_eq!(host.run(enabled).await, "enabled\nenabled\n");
    host.run("systemctl restart vault-kms-plugin.service").await;
    host.serves().await;
    // The page can be followed twice.
    host.install().await;
}

async fn a_server_of_k3s_has_what_its_page_says() {
    let host = Host::new("k3s").await;
    host.install().await;
    let said = host.follow("k3s.md", "Readers on every server").await;
    assert!(
        said.contains("this is the first step of adding it"),
        "{said}"
    );
    let file = "/etc/rancher/k3s/enc/encryption.yaml";
    host.follow("k3s.md", "The writer").await;
    let check =
        format!("vault-kms-plugin check --unit vault-kms-plugin --encryption-config {file}");
    let said = host.run(&check).await;
    assert!(
        said.contains("uses this plugin and writes secrets"),
        "{said}"
    );
    // The readers once more do not replace the writer.
    host.follow("k3s.md", "Readers on every server").await;
    let kept = host.run(&format!("cat {file}; stat -c %a {file}")).await;
    let expected = format!("{}600\n", host.site.file("encryption-2-writer.yaml"));
    assert_eq!(kept, expected);
    // Nor does the writer once more a file that has other providers by now.
    host.run(&format!("echo '# mine' >> {file}")).await;
    host.follow("k3s.md", "The writer").await;
    let kept = host.run(&format!("cat {file}; stat -c %a {file}")).await;
    assert!(kept.ends_with("# mine\n600\n"), "{kept}");
    let part = host
        .run("cat /etc/rancher/k3s/config.yaml.d/90-vault-kms-plugin.yaml")
        .await;
    assert_eq!(part, host.site.file("k3s-config.yaml"));
}

async fn a_server_of_rke2_has_what_its_page_says() {
    let host = Host::new("rke2").await;
    host.install().await;
    let place = "/var/lib/rancher/rke2/server/cred";
    let file = format!(
        "install -d {place}; cat > {place}/encryption-config.json <<'END'\n{}\nEND",
        super::pages::OF_RKE2
    );
    host.run(&file).await;
    host.follow("rke2.md", "Files of kube-apiserver").await;
    let said = host.follow("rke2.md", "Readers on every server").await;
    assert!(said.contains("aescbc writes secrets"), "{said}");
    host.follow("rke2.md", "The writer").await;
    let check = "vault-kms-plugin check --unit vault-kms-plugin --encryption-config /etc/rancher/rke2/enc/encryption.yaml";
    let said = host.run(check).await;
    assert!(
        said.contains("uses this plugin and writes secrets"),
        "{said}"
    );
}

async fn a_controller_of_k0s_has_what_its_page_says() {
    let host = Host::new("k0s").await;
    // As `k0s install controller` does.
    host.run("useradd --home /var/lib/k0s --shell /usr/sbin/nologin --system --no-create-home kube-apiserver").await;
    host.install().await;
    assert!(!host.admits("kube-apiserver").await);
    host.follow("k0s.md", "Plugin").await;
    host.serves().await;
    assert!(host.admits("kube-apiserver").await);
    assert!(!host.admits("nobody").await);
    let socket = host.run(&format!("stat -c %U:%G:%a {SOCKET}")).await;
    assert_eq!(socket, "kube-apiserver:vault-kms-plugin:660\n");
    let said = host.follow("k0s.md", "Readers on every controller").await;
    assert!(
        said.contains("this is the first step of adding it"),
        "{said}"
    );
    host.follow("k0s.md", "The writer").await;
    let read =
        "setpriv --reuid kube-apiserver --regid 0 --clear-groups cat /etc/k0s/enc/encryption.yaml";
    assert_eq!(
        host.run(read).await,
        host.site.file("encryption-2-writer.yaml")
    );
}

tests! {
    single a_host_serves_with_the_files_of_init [Vault, Machines];
    single a_server_of_k3s_has_what_its_page_says [Vault, Machines];
    single a_server_of_rke2_has_what_its_page_says [Vault, Machines];
    single a_controller_of_k0s_has_what_its_page_says [Vault, Machines];
}
