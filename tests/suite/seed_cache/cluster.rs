//! A real kube-apiserver that is killed and started while Vault is away.

use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{ON, local_kek};
use crate::cluster::{NAMESPACE, create, create_all, name, read_all, value};
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use crate::harness::vault::{Fixture, Vault};
use crate::harness::wait;
use crate::kmsctl::site::verified;
use crate::{LIMIT, daemon_for, number};

/// Secrets; under v2 each is written by another start of kube-apiserver, and so with a seed of its own.
const SECRETS: usize = 20;
const SEEDS: usize = 4;
const STARTS: usize = 5;
/// How long the outage of the soak is, unless `OUTAGE_MINUTES` says so, and how often it reads.
const MINUTES: u64 = 60;
const EACH_READ: Duration = Duration::from_secs(30);
/// `health.tolerance`, after which Status says that Vault fails.
const HEALTHY_FOR: Duration = Duration::from_secs(600);
/// kube-apiserver starts in some seconds, and its readyz need not be green.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

struct Cluster {
    vault: Vault,
    fixture: Fixture,
    daemon: Daemon,
    etcd: Etcd,
}

impl Cluster {
    async fn start() -> Self {
        Self::start_with(ON).await
    }

    async fn start_with(outage: &str) -> Self {
        let vault = Vault::start_persistent().await;
        let mut fixture = vault.fixture().await;
        // One that lives longer than the outage: nobody renews it meanwhile.
        let token = json!({ "policies": [&fixture.policy], "period": "4h", "no_parent": true });
        fixture.token = vault.create_token(token).await;
        let builder = daemon_for(&vault.address(), &fixture).extra(outage);
        let daemon = builder.spawn().await;
        KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
        let etcd = Etcd::start().await;
        Self {
            vault,
            fixture,
            daemon,
            etcd,
        }
    }

    /// Writes each Secret after another start of kube-apiserver, and so with a seed of its own.
    async fn write_seeds(&self, kubernetes: &KubeApiserver, seeds: Range<usize>) {
        for seed in seeds {
            create(kubernetes, seed).await;
            kubernetes.restart().await;
        }
    }
}

/// Each by itself: a list can come from the memory of kube-apiserver, one Secret comes from etcd.
async fn read_each(kubernetes: &KubeApiserver, numbers: Range<usize>) -> Result<(), String> {
    for number in numbers {
        match kubernetes.read_secret(NAMESPACE, &name(number)).await {
            Ok(read) if read == value(number) => {}
            Ok(read) => panic!("{number} is wrong: {read}"),
            Err((code, text)) => return Err(format!("{number}: {code} {text}")),
        }
    }
    Ok(())
}

/// Kills it, starts it, and waits until it reads every Secret and writes another, and its check of the plugin has this
/// outcome.
async fn start_without_vault(kubernetes: &KubeApiserver, written: usize, ready: u16) {
    let began = Instant::now();
    kubernetes.start_again();
    kubernetes.answers().await;
    wait::until("every Secret", STARTS_WITHIN, async || {
        read_each(kubernetes, 0..written).await.ok()
    })
    .await;
    let read = began.elapsed();
    create(kubernetes, written).await;
    let done = began.elapsed();
    wait::until("the check of the plugin", STARTS_WITHIN, async || {
        let path = "/readyz/kms-providers";
        let (code, _) = kubernetes.request_text("GET", path, None).await;
        (code == ready).then_some(())
    })
    .await;
    eprintln!("{written} Secrets read after {read:?}, one written after {done:?}, readyz {ready}");
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

/// With a local KEK it reads and writes from its start.
async fn a_kube_apiserver_that_starts_without_vault_under_v2_reads_and_writes_with_a_local_kek() {
    let cluster = Cluster::start_with(local_kek::ON).await;
    let encryption = EncryptionConfiguration::v2(cluster.daemon.socket());
    let kubernetes = KubeApiserver::start(&cluster.etcd, Some(&encryption), None).await;
    cluster.write_seeds(&kubernetes, 0..SEEDS).await;
    local_kek::ready(&cluster.daemon).await;
    cluster.vault.kill();
    start_without_vault(&kubernetes, SEEDS, 200).await;
    start_without_vault(&kubernetes, SEEDS + 1, 200).await;
    cluster.vault.restart().await;
    kubernetes.restart().await;
    read_each(&kubernetes, 0..SEEDS + 2).await.unwrap();
    // A daemon that remembers nothing unwraps what was sealed meanwhile.
    cluster.daemon.restart().await;
    KmsClient::connect(cluster.daemon.socket())
        .wait_ok(LIMIT)
        .await;
    kubernetes.restart().await;
    read_each(&kubernetes, 0..SEEDS + 2).await.unwrap();
    let proof = audited(&cluster).await;
    assert_eq!(proof["unreadable"], 0, "{proof}");
    assert_eq!(proof["authentic"], SEEDS + 2, "{proof}");
}

/// What `audit --verify` proves of the values in etcd.
async fn audited(cluster: &Cluster) -> Value {
    let report = verified(&cluster.etcd, &cluster.daemon.config_path()).await;
    report["verified"].clone()
}

/// Two nodes: one whose kube-apiserver is started again and again, and one without a seed cache whose kube-apiserver runs on.
async fn an_hour_without_vault_is_bridged() {
    let minutes = number("OUTAGE_MINUTES").unwrap_or(MINUTES);
    let length = Duration::from_secs(minutes * 60);
    let health = "[health]\nfail_after = \"3h\"";
    let cluster = Cluster::start_with(&format!("{}\n{health}", local_kek::ON)).await;
    let builder = daemon_for(&cluster.vault.address(), &cluster.fixture).extra(health);
    let plain = builder.spawn().await;
    KmsClient::connect(plain.socket()).wait_ok(LIMIT).await;
    let encryption = EncryptionConfiguration::v2(cluster.daemon.socket());
    let kubernetes = KubeApiserver::start(&cluster.etcd, Some(&encryption), None).await;
    cluster.write_seeds(&kubernetes, 0..SECRETS).await;
    let encryption = EncryptionConfiguration::v2(plain.socket());
    let running = KubeApiserver::start(&cluster.etcd, Some(&encryption), None).await;
    read_each(&running, 0..SECRETS).await.unwrap();
    local_kek::ready(&cluster.daemon).await;
    cluster.vault.kill();
    let outage = Instant::now();
    let mut failed = Vec::new();
    for start in 0..STARTS {
        let is_healthy = outage.elapsed() < HEALTHY_FOR;
        let ready = if is_healthy { 200 } else { 500 };
        start_without_vault(&kubernetes, SECRETS + start, ready).await;
        let next =
            outage + length / u32::try_from(STARTS).unwrap() * u32::try_from(start + 1).unwrap();
        while Instant::now() < next {
            sleep(EACH_READ).await;
            read_each(&kubernetes, 0..SECRETS + start).await.unwrap();
            // Those of before the outage; what the other node wrote since has a seed that this one never had.
            if let Err(error) = read_each(&running, 0..SECRETS).await {
                failed.push((outage.elapsed(), error));
            }
        }
    }
    let others = read_each(&running, SECRETS..SECRETS + STARTS).await;
    eprintln!(
        "after {:?}: a running kube-apiserver without a cache failed {failed:?}; of the other node's new Secrets {others:?}",
        outage.elapsed()
    );
    assert!(failed.is_empty());
    running.start_again();
    running.answers().await;
    let restarted = read_each(&running, 0..SECRETS).await;
    eprintln!("restarted without a cache: {restarted:?}");
    restarted.unwrap_err();
    cluster.vault.restart().await;
    kubernetes.ready().await;
    running.ready().await;
    for kubernetes in [&kubernetes, &running] {
        read_each(kubernetes, 0..SECRETS + STARTS).await.unwrap();
    }
    let proof = audited(&cluster).await;
    assert_eq!(proof["unreadable"], 0, "{proof}");
    assert_eq!(proof["authentic"], SECRETS + STARTS, "{proof}");
}

tests! {
    single every_secret_is_read_by_a_kube_apiserver_that_starts_without_vault_under_v1 [Vault, Kubernetes];
    single a_kube_apiserver_that_starts_without_vault_under_v2_reads_once_vault_is_back [Vault, Kubernetes];
    single a_kube_apiserver_that_starts_without_vault_under_v2_reads_and_writes_with_a_local_kek [Vault, Kubernetes];
    single an_hour_without_vault_is_bridged [Vault, Kubernetes] soak "takes an hour";
}
