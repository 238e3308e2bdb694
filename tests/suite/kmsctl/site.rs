//! A cluster whose objects are encrypted again, and what an operator runs against it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::documents::kubeconfig;
use crate::harness::daemon::Daemon;
use crate::harness::kubernetes::{Etcd, KubeApiserver};
use crate::harness::servers::{self, Server};
use crate::harness::vault::{Fixture, Vault};
use crate::harness::{child, operator, wait};
use crate::{LIMIT, daemon_for};

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_vault-kmsctl");
pub(super) const NAMESPACE: &str = "default";
/// Where the objects of the tests are in etcd, and in the API.
pub(super) const STORED: [(&str, &str); 3] = [
    ("/registry/secrets/", "/api/v1/secrets"),
    ("/registry/configmaps/", "/api/v1/configmaps"),
    (
        "/registry/example.org/widgets/",
        "/apis/example.org/v1/widgets",
    ),
];
/// The resources of the files of the tests.
pub(super) const RESOURCES: &str = "[secrets, configmaps, widgets.example.org]";
pub(super) const WIDGETS: &str = "/apis/example.org/v1/namespaces/default/widgets";

/// A kube-apiserver with a plugin, an etcd, and an operator's directory.
pub(super) struct Site {
    pub(super) daemon: Daemon,
    pub(super) etcd: Etcd,
    pub(super) kubernetes: KubeApiserver,
    pub(super) dir: TempDir,
}

/// What a run printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(super) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A file with these providers, as YAML lists have them.
pub(super) fn encryption(resources: &str, providers: &[String]) -> String {
    let providers: String = providers.iter().map(|one| format!("  - {one}\n")).collect();
    format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n\
         - resources: {resources}\n  providers:\n{providers}"
    )
}

impl Site {
    /// One whose file encrypts nothing yet.
    pub(super) async fn start(vault: &Vault, fixture: &Fixture) -> Self {
        let daemon = daemon_for(&vault.address(), fixture).spawn().await;
        let etcd = Etcd::start().await;
        let none = encryption(RESOURCES, &[identity()]);
        let gates = Some("KMSv1=true");
        let kubernetes = KubeApiserver::start(&etcd, Some(&none), gates).await;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("kubeconfig"), kubeconfig(&kubernetes)).unwrap();
        let site = Self {
            daemon,
            etcd,
            kubernetes,
            dir,
        };
        site.keep(&none);
        site.define_widgets().await;
        site
    }

    pub(super) fn kms(&self, version: &str, name: &str) -> String {
        let socket = self.daemon.socket().display();
        format!("kms: {{apiVersion: {version}, name: {name}, endpoint: 'unix://{socket}'}}")
    }

    pub(super) fn file(&self) -> PathBuf {
        self.dir.path().join("encryption.yaml")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn keep(&self, yaml: &str) {
        fs::write(self.file(), yaml).unwrap();
        self.kubernetes.write_encryption(yaml);
    }

    /// Starts kube-apiserver again with these providers.
    pub(super) async fn configure(&self, providers: &[String]) {
        self.configure_resources(RESOURCES, providers).await;
    }

    pub(super) async fn configure_resources(&self, resources: &str, providers: &[String]) {
        self.keep(&encryption(resources, providers));
        self.kubernetes.restart().await;
        self.wait_for_widgets().await;
    }

    /// `vault-kmsctl` as an operator of this cluster.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        child::clean_environment(&mut command);
        command
            .env("KUBECONFIG", self.path("kubeconfig"))
            .env("HOME", self.dir.path())
            .args(arguments)
            .arg("--encryption-config")
            .arg(self.file())
            .stdin(Stdio::null());
        command
    }

    pub(super) async fn run(&self, arguments: &[&str]) -> Ended {
        finish(self.command(arguments)).await
    }

    async fn define_widgets(&self) {
        let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let crd = json!({
            "metadata": { "name": "widgets.example.org" },
            "spec": {
                "group": "example.org", "scope": "Namespaced",
                "names": { "plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList" },
                "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }],
            },
        });
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        self.kubernetes.expect("POST", path, Some(crd)).await;
        self.wait_for_widgets().await;
    }

    /// Their storage is ready a moment after kube-apiserver is.
    pub(super) async fn wait_for_widgets(&self) {
        wait::until_true("widgets are served", LIMIT, async || {
            self.kubernetes.request("GET", WIDGETS, None).await.0 == 200
        })
        .await;
    }

    /// Objects of every kind.
    pub(super) async fn fill(&self, count: usize) {
        for number in 0..count {
            let (code, answer) = self
                .kubernetes
                .create_secret(
                    NAMESPACE,
                    &format!("secret-{number}"),
                    &format!("value {number}"),
                )
                .await;
            assert_eq!(code, 201, "{answer}");
        }
        for number in 0..count / 2 {
            let body = json!({
                "metadata": { "name": format!("fixed-{number}") },
                "immutable": true,
                "data": { "value": STANDARD.encode(format!("fixed {number}")) },
            });
            let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
            self.kubernetes.expect("POST", &path, Some(body)).await;
            let body = json!({
                "metadata": { "name": format!("map-{number}") },
                "data": { "value": format!("map {number}") },
            });
            let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
            self.kubernetes.expect("POST", &path, Some(body)).await;
            let body = json!({
                "apiVersion": "example.org/v1", "kind": "Widget",
                "metadata": { "name": format!("widget-{number}") },
                "spec": { "size": number },
            });
            self.kubernetes.expect("POST", WIDGETS, Some(body)).await;
        }
    }

    /// All objects, without what a write changes.
    pub(super) async fn contents(&self) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        for (_, path) in STORED {
            // After its start it has no custom resources for a moment.
            let list = wait::until("a list", LIMIT, async || {
                let (code, list) = self.kubernetes.request("GET", path, None).await;
                (code == 200).then_some(list)
            })
            .await;
            for mut item in list["items"].as_array().cloned().unwrap() {
                let metadata = item["metadata"].as_object_mut().unwrap();
                metadata.remove("resourceVersion");
                let name = format!("{path} {} {}", metadata["namespace"], metadata["name"]);
                all.insert(name, item);
            }
        }
        assert!(!all.is_empty());
        all
    }

    /// All values in etcd, by key.
    pub(super) async fn stored(&self) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::new();
        for (prefix, _) in STORED {
            for (key, value) in self.etcd.range(prefix).await {
                all.insert(String::from_utf8(key).unwrap(), value);
            }
        }
        all
    }

    /// `audit` of this cluster's etcd.
    pub(super) async fn audit(&self, more: &[&str]) -> Ended {
        let endpoints = self.etcd.address();
        let arguments = [&["audit", "--endpoints", &endpoints], more].concat();
        finish(operators(&arguments)).await
    }

    /// A snapshot, as an operator makes it.
    pub(super) async fn save_snapshot(&self, file: &Path) {
        let text = format!("{} snapshot save {}", self.etcdctl(), file.display());
        operator::run(self.dir.path(), &text, &[]).await;
    }

    /// Forgets all older revisions, as kube-apiserver does every 5 minutes.
    pub(super) async fn compact(&self) {
        let etcdctl = self.etcdctl();
        let text = format!(
            "revision=$({etcdctl} get / -w json | jq .header.revision)\n{etcdctl} compact --physical \"$revision\""
        );
        operator::run(self.dir.path(), &text, &[]).await;
    }

    fn etcdctl(&self) -> String {
        let program = servers::binary(Server::Etcdctl);
        format!("{} --endpoints {}", program.display(), self.etcd.address())
    }

    /// Each value in etcd begins with `start`, and holds `text`.
    pub(super) async fn assert_stored(&self, start: &str, text: &str) {
        for (key, value) in self.stored().await {
            let shown = String::from_utf8_lossy(&value);
            let is = shown.starts_with(start) && shown.contains(text);
            assert!(is, "{key}: {}", shown.chars().take(200).collect::<String>());
        }
    }
}

pub(super) fn identity() -> String {
    "identity: {}".to_owned()
}

pub(super) fn aescbc() -> String {
    let key = STANDARD.encode([7; 32]);
    format!("aescbc: {{keys: [{{name: one, secret: '{key}'}}]}}")
}

pub(super) fn secretbox() -> String {
    let key = STANDARD.encode([9; 32]);
    format!("secretbox: {{keys: [{{name: box, secret: '{key}'}}]}}")
}

/// `vault-kmsctl` without anything of a cluster.
pub(crate) fn operators(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    child::clean_environment(&mut command);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// The counts of the findings of a report, by kind.
pub(super) fn findings(report: &Value) -> Vec<(String, u64)> {
    let findings = report["findings"].as_array().unwrap().iter();
    let pair = |one: &Value| {
        (
            one["kind"].as_str().unwrap().to_owned(),
            one["count"].as_u64().unwrap(),
        )
    };
    let mut all: Vec<_> = findings.map(pair).collect();
    all.sort();
    all
}

/// How many Secrets a provider wrote, by a report.
pub(super) fn secrets_by(report: &Value, provider: &str) -> u64 {
    let groups = report["groups"].as_array().unwrap().iter();
    groups
        .filter(|row| row["resource"] == "secrets" && row["provider"] == provider)
        .map(|row| row["objects"].as_u64().unwrap())
        .sum()
}

/// Runs a command to its end, not on the thread of the test.
pub(crate) async fn finish(mut command: Command) -> Ended {
    let ended = tokio::task::spawn_blocking(move || command.output());
    Ended::from(ended.await.unwrap().unwrap())
}

/// The report of `audit --verify` of this etcd, by a daemon's configuration.
pub(crate) async fn verified(etcd: &Etcd, config: &Path) -> Value {
    let endpoints = etcd.address();
    let arguments = ["audit", "--endpoints", &endpoints, "--verify", "--json"];
    let config = ["--config", config.to_str().unwrap()];
    let ended = finish(operators(&[&arguments[..], &config].concat())).await;
    serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:#?}"))
}

/// A kubeconfig with this token at `path`.
pub(super) fn write_kubeconfig(path: &Path, kubernetes: &KubeApiserver, token: &str) {
    let text = kubeconfig(kubernetes).replace(kubernetes.admin_token(), token);
    fs::write(path, text).unwrap();
}
