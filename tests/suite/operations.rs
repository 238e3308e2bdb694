//! docs/operations: the commands of its pages are run against a real kube-apiserver, etcd and Vault, and
//! what the pages say about mistakes is seen.
//!
//! kubeadm, crictl and SELinux are not there, so their commands are run by nobody.

mod disable;
mod nodes;
mod providers;
mod re_encryption;
mod restore;
mod rules;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::documents::kubeconfig;
use super::documents::markdown::Page;
use super::harness::certificates::Certificates;
use super::harness::daemon::Daemon;
use super::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use super::harness::servers::{self, Server};
use super::harness::vault::{Fixture, Vault};
use super::harness::wait;
use super::harness::{child, operator};
use super::{LIMIT, daemon_for};

const NAMESPACE: &str = "default";
/// As the harness writes it.
const IDENTITY: &str = "  - identity: {}\n";
const STORED: &str = "/registry/secrets/";
/// kube-apiserver asks for Status once a minute; the daemon reads the key every 30 s.
const ROTATED: Duration = Duration::from_secs(120);

/// The sections with commands, each with its test.
const SECTIONS: [&str; 10] = [
    "backup.md: Restore the pair",
    "backup.md: Take both",
    "control-plane-nodes.md: Comparing nodes",
    "control-plane-nodes.md: Joining a node",
    "re-encryption.md: Count what is left",
    "re-encryption.md: Write all objects again",
    "rotation.md: Rotation of the key",
    "upgrade.md: Rollback",
    "upgrade.md: systemd unit",
    "verify.md: Inspection of your own data",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page of docs/operations.
fn page(name: &str) -> Page {
    Page::read(&root().join("docs/operations").join(name))
}

/// The directory of an operator, and what the pages' names stand for.
pub(super) struct Shell {
    pub(super) dir: TempDir,
    names: Vec<(String, String)>,
    variables: Vec<(String, String)>,
}

impl Shell {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for (server, name) in [
            (Server::Vault, "vault"),
            (Server::Etcdctl, "etcdctl"),
            (Server::Etcdutl, "etcdutl"),
        ] {
            symlink(servers::binary(server), bin.join(name)).unwrap();
        }
        for (name, program) in [
            ("vault-kmsctl", env!("CARGO_BIN_EXE_vault-kmsctl")),
            ("vault-kms-plugin", env!("CARGO_BIN_EXE_vault-kms-plugin")),
        ] {
            symlink(program, bin.join(name)).unwrap();
        }
        Self {
            dir,
            names: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// In the pages, `name` means `value`.
    pub(super) fn means(mut self, name: &str, value: &str) -> Self {
        self.names.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn set(mut self, variable: &str, value: &str) -> Self {
        self.set_variable(variable, value);
        self
    }

    fn set_variable(&mut self, variable: &str, value: &str) {
        self.variables.push((variable.to_owned(), value.to_owned()));
    }

    /// For an operator of this Vault, with this key.
    fn of_vault(self, vault: &Vault, fixture: &Fixture) -> Self {
        self.means("transit/keys/kms", &format!("{}/keys/kms", fixture.mount))
            .set("VAULT_ADDR", &vault.address())
            .set("VAULT_TOKEN", vault.root_token())
    }

    /// For an operator of this cluster. Pages of lists are short, so that there are several.
    pub(super) fn of_cluster(self, kubernetes: &KubeApiserver, etcd: &Etcd) -> Self {
        fs::write(self.dir.path().join("kubeconfig"), kubeconfig(kubernetes)).unwrap();
        self.means("https://127.0.0.1:2379", &etcd.address())
            .means("ETCD_TLS=\"--cacert", "ETCD_TLS=\"\" # ")
            .means("limit=500", "limit=20")
            .means("\\\"limit\\\":500", "\\\"limit\\\":20")
            .set("ETCDCTL_ENDPOINTS", &etcd.address())
    }

    /// Runs blocks of commands in one shell. Returns what they wrote to stdout.
    pub(super) async fn run(&self, blocks: &[String]) -> String {
        assert!(!blocks.is_empty(), "no commands");
        let replace = |text: String, (name, value): &(String, String)| text.replace(name, value);
        let text = self.names.iter().fold(blocks.concat(), replace);
        operator::run(self.dir.path(), &text, &self.variables).await
    }

    /// Writes all Secrets again, as the page has it.
    async fn rewrite(&self) -> String {
        let blocks = page("re-encryption.md").blocks("Write all objects again", "sh");
        self.run(&blocks).await
    }

    /// What the page's count prints, by what wrote it.
    async fn count(&self) -> BTreeMap<String, usize> {
        let blocks = page("re-encryption.md").blocks("Count what is left", "sh");
        let printed = self.run(&blocks).await;
        let line = |line: &str| {
            let (count, what) = line.trim().split_once(' ')?;
            Some((what.to_owned(), count.parse().ok()?))
        };
        let counts: Option<_> = printed.lines().map(line).collect();
        counts.unwrap_or_else(|| panic!("{printed}"))
    }
}

/// A kube-apiserver with a plugin and an etcd of its own.
struct Site {
    daemon: Daemon,
    etcd: Etcd,
    kubernetes: KubeApiserver,
}

impl Site {
    /// With these providers on the plugin's socket, and `identity` after them.
    async fn start(vault: &Vault, fixture: &Fixture, providers: &[(&str, &str)]) -> Self {
        let daemon = daemon_for(&vault.address(), fixture).spawn().await;
        let etcd = Etcd::start().await;
        let encryption = EncryptionConfiguration::providers(daemon.socket(), providers);
        let kubernetes = KubeApiserver::start(&etcd, Some(&encryption), None).await;
        Self {
            daemon,
            etcd,
            kubernetes,
        }
    }

    /// Another file for kube-apiserver, from its next start on.
    fn configure(&self, providers: &[(&str, &str)]) -> String {
        let yaml = EncryptionConfiguration::providers(self.daemon.socket(), providers);
        self.kubernetes.write_encryption(&yaml);
        yaml
    }

    /// The same without `identity`.
    fn configure_without_identity(&self, providers: &[(&str, &str)]) {
        let yaml = self.configure(providers);
        let yaml = yaml.replace(IDENTITY, "");
        self.kubernetes.write_encryption(&yaml);
    }

    /// Rotates the key as the page has it, and waits until kube-apiserver writes with the new version.
    /// Writes Secrets `rotation-…` meanwhile.
    async fn rotate(&self, shell: &Shell) {
        let commands = page("rotation.md").blocks("Rotation of the key", "sh");
        shell.run(&commands).await;
        let mut number = 0;
        wait::until("the new version in etcd", ROTATED, async || {
            number += 1;
            write(&self.kubernetes, &format!("rotation-{number}")).await;
            let key = format!("{STORED}{NAMESPACE}/rotation-{number}");
            let stored = self.etcd.range(&key).await;
            // Asks for Status, as a kubelet does.
            self.kubernetes.readyz().await;
            // Not the wait itself, only its pace.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let text = String::from_utf8_lossy(&stored[0].1).into_owned();
            text.contains("vault:v2:").then_some(())
        })
        .await;
    }
}

fn value_of(name: &str) -> String {
    format!("the plaintext of {name}")
}

async fn write(kubernetes: &KubeApiserver, name: &str) {
    let (code, answer) = kubernetes
        .create_secret(NAMESPACE, name, &value_of(name))
        .await;
    assert_eq!(code, 201, "{answer}");
}

async fn write_all(kubernetes: &KubeApiserver, prefix: &str, count: usize) {
    for number in 0..count {
        write(kubernetes, &format!("{prefix}-{number}")).await;
    }
}

/// Whether it can be read; with another content is a failure of the test.
async fn is_readable(kubernetes: &KubeApiserver, name: &str) -> bool {
    match kubernetes.read_secret(NAMESPACE, name).await {
        Ok(value) => {
            assert_eq!(value, value_of(name));
            true
        }
        Err((code, message)) => {
            eprintln!("{name}: {code} {message}");
            assert_ne!(code, 404, "{message}");
            false
        }
    }
}

async fn assert_readable(kubernetes: &KubeApiserver, prefix: &str, count: usize) {
    let read = kubernetes.list_secrets(NAMESPACE).await.unwrap();
    for number in 0..count {
        let name = format!("{prefix}-{number}");
        assert_eq!(read.get(&name), Some(&value_of(&name)), "{name}");
    }
}

/// A block of `sh` is run by a test of this module, of `systemd::pages` or of `init::pages`; one of `console` is not, or
/// not everywhere.
fn every_section_with_commands_is_run() {
    let mut sections = Vec::new();
    for entry in fs::read_dir(root().join("docs/operations")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let page = Page::read(&path);
        let sections_of_it = page.sections_with("sh").into_iter();
        sections.extend(sections_of_it.map(|section| format!("{name}: {section}")));
    }
    sections.sort_unstable();
    assert_eq!(sections, SECTIONS);
}

/// docs/operations/probes.md: at its start the liveness of a kube-apiserver depends on the Secrets.
async fn assert_starting_without_secrets(kubernetes: &KubeApiserver) {
    let code = async |path: &str| kubernetes.request_text("GET", path, None).await.0;
    let but_one = "/livez?exclude=poststarthook/storage-readiness";
    wait::until_true("all but the Secrets to be read", LIMIT, async || {
        code(but_one).await == 200
    })
    .await;
    assert_eq!(code("/livez").await, 500);
}

/// Each page's configuration, over that of a plain plugin, passes `check --offline`.
fn the_configurations_of_the_pages_are_valid() {
    let certificates = Certificates::new();
    let mut count = 0;
    for entry in fs::read_dir(root().join("docs/operations")).unwrap() {
        let page = Page::read(&entry.unwrap().path());
        for section in page.sections_with("toml") {
            let blocks = page.blocks(section, "toml").concat();
            let builder = Daemon::builder().vault("http://127.0.0.1:8200");
            let builder = builder.transit("transit", "kms").token("x");
            let ca = builder.write_file("ca.pem", &certificates.ca_pem());
            let blocks = blocks.replace("/etc/vault-kms-plugin/ca.pem", ca.to_str().unwrap());
            let builder = builder.extra(&blocks);
            let config = builder.write_file("page.toml", &builder.config_text());
            let mut check = Command::new(env!("CARGO_BIN_EXE_vault-kms-plugin"));
            child::clean_environment(&mut check);
            let check = check.args(["check", "--offline", "--config"]).arg(config);
            let printed = check.output().unwrap();
            let text = String::from_utf8_lossy(&printed.stdout);
            assert!(printed.status.success(), "{section}: {text}");
            count += 1;
        }
    }
    assert!(count >= 3, "only {count} configurations were found");
}

tests! {
    [disable, nodes, providers, re_encryption, restore, rules]
    plain every_section_with_commands_is_run;
    plain the_configurations_of_the_pages_are_valid;
}
