//! A real kube-apiserver that is killed and started while Vault is away.

use std::time::{Duration, Instant};

use super::ON;
use crate::cluster::{NAMESPACE, create, create_all, name, read_all, value};
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use crate::harness::vault::Vault;
use crate::harness::wait;
use crate::{LIMIT, daemon_for};

/// Secrets; under v2 each is written by another start of kube-apiserver, and so with a seed of its own.
const SECRETS: usize = 20;
const SEEDS: usize = 4;
const STARTS: usize = 5;
/// kube-apiserver starts in some seconds, and its readyz need not be green.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

struct Cluster {
    vault: Vault,
    daemon: Daemon,
    etcd: Etcd,
}

impl Cluster {
    async fn start() -> Self {
        let vault = Vault::start_persistent().await;
        let fixture = vault.fixture().await;
        let builder = daemon_for(&vault.address(), &fixture).extra(ON);
        let daemon = builder.spawn().await;
        KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
        let etcd = Etcd::start().await;
        Self {
            vault,
            daemon,
            etcd,
        }
    }
}

async fn every_secret_is_read_by_a_kube_apiserver_that_starts_without_vault_under_v1() {
    let cluster = Cluster::start().await;
    let encryption = EncryptionConfiguration::v1(cluster.daemon.socket());
    let kubernetes =
        KubeApiserver::start(&cluster.etcd, Some(&encryption), Some("KMSv1=true")).await;
    create_all(&kubernetes, 0..SECRETS).await;
    cluster.vault.kill();
    for start in 0..STARTS {
        kubernetes.kill();
        let began = Instant::now();
        kubernetes.start_again();
        kubernetes.answers().await;
        wait::until("every Secret", STARTS_WITHIN, async || {
            kubernetes.list_secrets(NAMESPACE).await.ok()
        })
        .await;
        read_all(&kubernetes, 0..SECRETS).await;
        eprintln!("start {start}: every Secret after {:?}", began.elapsed());
    }
    cluster.vault.restart().await;
    kubernetes.ready().await;
    create(&kubernetes, SECRETS).await;
}

/// Under v2 kube-apiserver reads nothing before its first Encrypt has worked, whatever a Decrypt would answer.
async fn a_kube_apiserver_that_starts_without_vault_under_v2_reads_once_vault_is_back() {
    let cluster = Cluster::start().await;
    let encryption = EncryptionConfiguration::v2(cluster.daemon.socket());
    let kubernetes = KubeApiserver::start(&cluster.etcd, Some(&encryption), None).await;
    for seed in 0..SEEDS {
        create(&kubernetes, seed).await;
        kubernetes.kill();
        kubernetes.restart().await;
    }
    read_all(&kubernetes, 0..SEEDS).await;
    cluster.vault.kill();
    // A running one reads on.
    read_all(&kubernetes, 0..SEEDS).await;
    kubernetes.kill();
    kubernetes.start_again();
    kubernetes.answers().await;
    let error = wait::until("an answer about a Secret", STARTS_WITHIN, async || {
        let read = kubernetes.read_secret(NAMESPACE, &name(0)).await;
        read.err()
            .filter(|(code, text)| *code == 500 && text.contains("transformer"))
    })
    .await;
    eprintln!("without Vault: {} {}", error.0, error.1);
    cluster.vault.restart().await;
    wait::until("a Secret", Duration::from_secs(120), async || {
        let read = kubernetes.read_secret(NAMESPACE, &name(0)).await.ok()?;
        (read == value(0)).then_some(())
    })
    .await;
    kubernetes.ready().await;
    read_all(&kubernetes, 0..SEEDS).await;
}

tests! {
    single every_secret_is_read_by_a_kube_apiserver_that_starts_without_vault_under_v1 [Vault, Kubernetes];
    single a_kube_apiserver_that_starts_without_vault_under_v2_reads_once_vault_is_back [Vault, Kubernetes];
}
