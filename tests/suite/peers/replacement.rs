//! A rolling replacement: three kube-apiservers over one etcd, whose plugins are replaced one at a time under load, with
//! a rotation in the middle, and back again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::plugin::{Backend, Peer, Plugin, ours};
use crate::harness::daemon::Daemon;
use crate::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use crate::harness::wait;

const NODES: usize = 3;
const NAMESPACE: &str = "default";
/// How long a state is watched under load.
const DWELL: Duration = Duration::from_secs(6);
/// kube-apiserver asks for Status once a minute.
const FOLLOWED: Duration = Duration::from_secs(150);

enum Running {
    Theirs(Plugin),
    Ours(Daemon),
}

/// The nodes, and what runs on each.
struct Site {
    peer: Peer,
    backend: Backend,
    etcd: Etcd,
    sockets: Vec<PathBuf>,
    servers: Vec<KubeApiserver>,
    load: Load,
    _dir: TempDir,
}

/// What was written, and what failed.
#[derive(Default)]
struct Load {
    written: Mutex<BTreeMap<String, String>>,
    failures: Mutex<Vec<String>>,
    reads: Mutex<usize>,
}

impl Load {
    fn fail(&self, what: String) {
        self.failures.lock().unwrap().push(what);
    }

    fn any(&self) -> Option<(String, String)> {
        let written = self.written.lock().unwrap();
        let index = fastrand::usize(..written.len().max(1));
        let (name, value) = written.iter().nth(index)?;
        Some((name.clone(), value.clone()))
    }

    /// Writes through one kube-apiserver and reads through it what any of them wrote, until it is stopped.
    async fn run(&self, node: usize, server: &KubeApiserver, stop: &CancellationToken) {
        let mut number = 0;
        while !stop.is_cancelled() {
            number += 1;
            let (name, value) = (format!("of-{node}-{number}"), format!("{node} {number}"));
            let (code, answer) = server.create_secret(NAMESPACE, &name, &value).await;
            if code == 201 {
                self.written.lock().unwrap().insert(name, value);
            } else {
                self.fail(format!("write through node {node}: {code} {answer}"));
            }
            for _ in 0..4 {
                let Some((name, value)) = self.any() else {
                    continue;
                };
                match server.read_secret(NAMESPACE, &name).await {
                    Ok(read) => assert_eq!(read, value, "{name}"),
                    Err(error) => self.fail(format!("read of {name} at node {node}: {error:?}")),
                }
                *self.reads.lock().unwrap() += 1;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }
}

impl Site {
    async fn start(peer: Peer) -> (Self, Vec<Running>) {
        let backend = Backend::start().await;
        let etcd = Etcd::start().await;
        let dir = tempfile::tempdir().unwrap();
        let mut sockets = Vec::new();
        let mut running = Vec::new();
        for node in 0..NODES {
            let socket = dir.path().join(format!("node-{node}.sock"));
            running.push(Running::Theirs(
                Plugin::start(peer, &socket, &backend).await,
            ));
            sockets.push(socket);
        }
        let servers = sockets.iter().map(|socket| {
            KubeApiserver::launch(
                &etcd,
                Some(&EncryptionConfiguration::v2(socket)),
                Vec::new(),
            )
        });
        let servers: Vec<_> = servers.collect();
        join_all(servers.iter().map(KubeApiserver::ready)).await;
        let site = Self {
            peer,
            backend,
            etcd,
            sockets,
            servers,
            load: Load::default(),
            _dir: dir,
        };
        (site, running)
    }

    /// This daemon instead of the other plugin, or the other way round.
    async fn replace(&self, node: usize, running: &mut Vec<Running>) {
        let socket = &self.sockets[node];
        let began = Instant::now();
        let next = match running.remove(node) {
            Running::Theirs(plugin) => {
                plugin.stop().await;
                Running::Ours(ours(self.peer, socket, &self.backend).await)
            }
            Running::Ours(daemon) => {
                assert_eq!(daemon.stop().await, 0, "{}", daemon.log());
                Running::Theirs(Plugin::start(self.peer, socket, &self.backend).await)
            }
        };
        eprintln!("node {node} replaced after {:.1?}", began.elapsed());
        running.insert(node, next);
        tokio::time::sleep(DWELL).await;
        self.assert_no_failure();
    }

    fn assert_no_failure(&self) {
        let failures = self.load.failures.lock().unwrap();
        assert!(failures.is_empty(), "{failures:#?}");
    }

    /// A kube-apiserver that has no seed in memory reads everything through this node's plugin.
    async fn assert_readable_cold(&self, node: usize) {
        let file = EncryptionConfiguration::v2(&self.sockets[node]);
        let written = self.load.written.lock().unwrap().clone();
        let server = KubeApiserver::start(&self.etcd, Some(&file), None).await;
        let listed = server.list_secrets(NAMESPACE).await.unwrap();
        for (name, value) in &written {
            assert_eq!(listed.get(name), Some(value), "{name} at node {node}");
        }
        eprintln!("node {node}, cold: {} Secrets read", written.len());
        server.kill();
    }

    /// What kube-apiserver keeps of a Secret now.
    async fn stored(&self, name: &str) -> Vec<u8> {
        let key = format!("/registry/secrets/{NAMESPACE}/{name}");
        let values = self.etcd.range(&key).await.into_iter();
        let mut own = values.filter(|(of, _)| of == key.as_bytes());
        own.next().unwrap().1
    }

    /// Whether a write without a change is written through this node.
    async fn is_written_again(&self, node: usize, name: &str) -> bool {
        let before = self.stored(name).await;
        let (code, answer) = self.servers[node].rewrite_secret(NAMESPACE, name).await;
        assert_eq!(code, 200, "{answer}");
        self.stored(name).await != before
    }

    /// kube-apiserver takes over this daemon's key_id at its next Status.
    async fn follows_our_key_id(&self, node: usize) {
        let (name, _) = self.load.any().unwrap();
        let began = Instant::now();
        wait::until_true("a key_id of this daemon in etcd", FOLLOWED, async || {
            self.is_written_again(node, &name).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            String::from_utf8_lossy(&self.stored(&name).await).contains("transit1:")
        })
        .await;
        eprintln!("node {node} has our key_id after {:.0?}", began.elapsed());
    }

    /// The nodes' key_ids differ: each writes again what another one wrote, though nothing changed; one that
    /// wrote it itself does not.
    async fn assert_key_ids_differ(&self, theirs: usize, ours: usize) {
        self.follows_our_key_id(ours).await;
        let (name, _) = self.load.any().unwrap();
        self.is_written_again(theirs, &name).await;
        assert!(!self.is_written_again(theirs, &name).await);
        assert!(self.is_written_again(ours, &name).await);
        assert!(!self.is_written_again(ours, &name).await);
        assert!(self.is_written_again(theirs, &name).await);
    }

    /// The key is rotated, and every node writes with the new version.
    async fn rotate(&self) {
        self.backend.rotate().await;
        let began = Instant::now();
        for (node, server) in self.servers.iter().enumerate() {
            let name = format!("rotated-{node}");
            let (code, answer) = server.create_secret(NAMESPACE, &name, "x").await;
            assert_eq!(code, 201, "{answer}");
            wait::until_true("the new version in etcd", FOLLOWED, async || {
                server.rewrite_secret(NAMESPACE, &name).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                let stored = self.stored(&name).await;
                String::from_utf8_lossy(&stored).contains("vault:v2:")
            })
            .await;
            eprintln!("node {node} follows after {:.0?}", began.elapsed());
        }
        self.assert_no_failure();
    }
}

/// There and back.
async fn replaced_and_back(peer: Peer) {
    let (site, mut running) = Site::start(peer).await;
    let stop = CancellationToken::new();
    let steps = async {
        let _stop = stop.clone().drop_guard();
        tokio::time::sleep(DWELL).await;
        site.replace(0, &mut running).await;
        site.replace(1, &mut running).await;
        site.assert_key_ids_differ(2, 0).await;
        site.rotate().await;
        site.assert_readable_cold(0).await;
        site.assert_readable_cold(2).await;
        site.replace(2, &mut running).await;
        site.assert_readable_cold(2).await;
        for node in 0..NODES {
            site.replace(node, &mut running).await;
        }
        site.assert_readable_cold(0).await;
    };
    let loads = site.servers.iter().enumerate();
    let loads = join_all(loads.map(|(node, server)| site.load.run(node, server, &stop)));
    tokio::join!(steps, loads);
    site.assert_no_failure();
    let (written, reads) = (
        site.load.written.lock().unwrap().len(),
        *site.load.reads.lock().unwrap(),
    );
    eprintln!("{peer:?}: {written} writes, {reads} reads, 0 failed");
}

async fn no_read_fails_while_vault_kubernetes_kms_is_replaced_and_comes_back() {
    replaced_and_back(Peer::VaultKubernetesKms).await;
}

async fn no_read_fails_while_vault_kms_provider_is_replaced_and_comes_back() {
    replaced_and_back(Peer::VaultKmsProvider).await;
}

async fn no_read_fails_while_kleidi_is_replaced_and_comes_back() {
    replaced_and_back(Peer::Kleidi).await;
}

tests! {
    multi no_read_fails_while_vault_kubernetes_kms_is_replaced_and_comes_back [Vault, Kubernetes] soak "three kube-apiservers and a rotation: minutes";
    multi no_read_fails_while_vault_kms_provider_is_replaced_and_comes_back [Vault, Kubernetes] soak "three kube-apiservers and a rotation: minutes";
    multi no_read_fails_while_kleidi_is_replaced_and_comes_back [Vault, Kubernetes] soak "three kube-apiservers and a rotation: minutes";
}
