//! The control plane that the faults happen to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use super::history::{History, Operation, Outcome, Register};
use super::workload::{REGISTERS, name, path, revision, value};
use crate::cluster::NAMESPACE;
use crate::harness::clock::Clock;
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use crate::harness::proxy::Proxy;
use crate::harness::vault::cluster::Cluster;
use crate::harness::vault::{Fixture, plugin_policy};
use crate::harness::wait;
use crate::kmsctl::site::verified;
use crate::{LIMIT, daemon_for};

/// Control-plane nodes, and as many Vault servers.
pub(super) const NODES: usize = 3;
/// After the last fault: a Status may be a minute old, a refresh waits for up to 30 s.
const RECOVERS_WITHIN: Duration = Duration::from_secs(240);

/// A control-plane node.
pub(super) struct Node {
    pub(super) daemon: Daemon,
    pub(super) kubernetes: KubeApiserver,
    /// The way to each Vault server.
    pub(super) ways: Vec<Proxy>,
    pub(super) clock: Clock,
    /// The state directory, on a small disk of its own.
    pub(super) disk: Disk,
}

/// The whole control plane.
pub(super) struct Site {
    pub(super) vaults: Cluster,
    pub(super) etcd: Etcd,
    pub(super) fixture: Fixture,
    pub(super) nodes: Vec<Arc<Node>>,
}

/// A file system of a few pages, which can be filled.
pub(super) struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = ["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(dir.path()).status();
        assert!(mounted.unwrap().success());
        Self(dir)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    fn filling(&self) -> PathBuf {
        self.path().join("filling")
    }

    /// Until nothing more can be written.
    pub(super) fn fill(&self) {
        for kib in [64, 32, 16, 8, 4] {
            let file = self.path().join(format!("filling-{kib}"));
            let _ = fs::write(file, vec![0; kib * 1024]);
        }
        assert!(fs::write(self.filling(), [0; 4096]).is_err(), "not full");
    }

    pub(super) fn free(&self) {
        for entry in fs::read_dir(self.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().contains("filling") {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

impl Site {
    /// Starts it, and writes each Secret for the first time.
    pub(super) async fn start(history: &History) -> Self {
        let vaults = Cluster::start().await;
        let fixture = vaults.node(0).fixture().await;
        let etcd = Etcd::start().await;
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(Arc::new(Node::start(&vaults, &fixture, &etcd).await));
        }
        let site = Self {
            vaults,
            etcd,
            fixture,
            nodes,
        };
        for register in 0..REGISTERS {
            let node = register % NODES;
            let kubernetes = &site.nodes[node].kubernetes;
            let first = format!("value 0 of register {register}");
            let began = history.now();
            let name = name(register);
            let created = kubernetes.create_secret(NAMESPACE, &name, &first);
            let (code, object) = created.await;
            assert_eq!(code, 201, "{object}");
            history.add(Operation {
                node,
                what: "write",
                register: Some(register),
                began,
                ended: history.now(),
                outcome: Outcome::Written {
                    value: first,
                    base: 0,
                    revision: revision(&object),
                },
            });
        }
        site
    }

    /// Gives the plugin its policy, or one that allows nothing.
    pub(super) async fn write_policy(&self, allows: bool) {
        let (mount, key) = (&self.fixture.mount, &self.fixture.key);
        let policy = if allows {
            plugin_policy(mount, key)
        } else {
            "path \"nothing\" { capabilities = [\"read\"] }".to_owned()
        };
        let leader = self.vaults.leader().await;
        let vault = self.vaults.node(leader);
        vault.write_policy(&self.fixture.policy, &policy).await;
    }

    /// Waits until every plugin and every kube-apiserver is ready.
    pub(super) async fn recover(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            let client = KmsClient::connect(node.daemon.socket());
            client.wait_ok(RECOVERS_WITHIN).await;
            let what = format!("kube-apiserver {index} is ready");
            wait::until_true(&what, RECOVERS_WITHIN, async || {
                node.kubernetes.readyz().await == Some(200)
            })
            .await;
        }
    }

    /// Each node reads what was written last, and nobody lost a Secret.
    pub(super) async fn read_everywhere(&self, last: &BTreeMap<Register, Vec<String>>) {
        assert_eq!(last.len(), REGISTERS);
        for (register, possible) in last {
            let mut read = Vec::new();
            for node in &self.nodes {
                let object = node.kubernetes.expect("GET", &path(*register), None).await;
                read.push(value(&object));
            }
            assert!(read.iter().all(|value| *value == read[0]), "{read:?}");
            assert!(
                possible.contains(&read[0]),
                "register {register}: {} of {possible:?}",
                read[0]
            );
        }
    }

    /// `audit --verify` of etcd, by one node's configuration.
    pub(super) async fn audit(&self, least: usize) {
        let report = verified(&self.etcd, &self.nodes[0].daemon.config_path()).await;
        let proof = &report["verified"];
        eprintln!("audit --verify: {proof}");
        assert_eq!(proof["unreadable"], json!(0), "{report}");
        let authentic = proof["authentic"].as_u64().unwrap();
        assert!(authentic >= least as u64, "{report}");
    }
}

impl Node {
    async fn start(vaults: &Cluster, fixture: &Fixture, etcd: &Etcd) -> Self {
        let disk = Disk::new();
        let clock = Clock::new();
        let ways = (0..NODES).map(|index| Proxy::start(vaults.node(index).socket_address()));
        let ways: Vec<_> = ways.collect();
        let addresses: Vec<_> = ways.iter().map(Proxy::address).collect();
        let extra = format!(
            "[vault]\naddress = {addresses:?}\n[state]\ndir = {:?}",
            disk.path()
        );
        let builder = daemon_for(&addresses[0], fixture).extra(&extra);
        let daemon = clock.of(builder).spawn().await;
        KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
        let encryption = EncryptionConfiguration::v2(daemon.socket());
        let kubernetes = KubeApiserver::start(etcd, Some(&encryption), None).await;
        Self {
            daemon,
            kubernetes,
            ways,
            clock,
            disk,
        }
    }

    /// Ends the daemon, however it is, and starts it again.
    pub(super) fn start_daemon_again(&self) {
        self.daemon.signal(Signal::CONT);
        self.daemon.kill();
        self.daemon.start();
    }
}
