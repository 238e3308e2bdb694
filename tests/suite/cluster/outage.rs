//! Status as kube-apiserver sees it when Vault fails: what continues, what stops, and that nothing has
//! to be restarted. Soaks, because kube-apiserver counts in minutes:
//! `cargo test --test suite -- --ignored soak_`.

use std::time::{Duration, Instant};

use super::super::LIMIT;
use super::super::daemon_for;
use super::super::harness::daemon::Daemon;
use super::super::harness::kms::KmsClient;
use super::super::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use super::super::harness::proxy::{Fault, Proxy};
use super::super::harness::vault::{Fixture, Vault, plugin_policy};
use super::super::harness::wait;
use super::{NAMESPACE, create, key_ids, name, read_all, value};

/// kube-apiserver writes for 3 minutes after the last Status that was no error.
const WRITE_EXPIRY: Duration = Duration::from_secs(180);
/// Its period of asking for Status is a minute; a look of ours is 33 s away at most.
const NOTICED: Duration = Duration::from_secs(150);

/// A cluster whose plugin reaches Vault through a proxy.
pub(super) struct Cluster {
    pub(super) fixture: Fixture,
    pub(super) proxy: Proxy,
    pub(super) daemon: Daemon,
    pub(super) etcd: Etcd,
    pub(super) kubernetes: KubeApiserver,
    pub(super) written: usize,
}

impl Cluster {
    pub(super) async fn start(vault: &Vault) -> Self {
        let fixture = vault.fixture().await;
        let proxy = Proxy::start(vault.socket_address());
        let daemon = daemon_for(&proxy.address(), &fixture)
            .release()
            .extra("[health]\ntolerance = \"1m\"")
            .spawn()
            .await;
        let etcd = Etcd::start().await;
        let encryption = EncryptionConfiguration::v2(daemon.socket());
        let kubernetes = KubeApiserver::start(&etcd, Some(&encryption), None).await;
        Self {
            fixture,
            proxy,
            daemon,
            etcd,
            kubernetes,
            written: 0,
        }
    }

    pub(super) async fn write(&mut self) {
        create(&self.kubernetes, self.written).await;
        self.written += 1;
    }

    /// Writes, a Secret every other second, until `done` or the limit; every write has to succeed.
    pub(super) async fn write_until(
        &mut self,
        what: &str,
        limit: Duration,
        done: impl AsyncFn(&Self) -> bool,
    ) {
        let start = Instant::now();
        while !done(self).await {
            assert!(
                start.elapsed() < limit,
                "waited {limit:?} in vain for: {what}"
            );
            self.write().await;
            tokio::time::sleep(Duration::from_secs(2)).await; // the pace
        }
    }

    async fn write_for(&mut self, time: Duration) {
        let start = Instant::now();
        self.write_until("nothing", time * 2, async |_| start.elapsed() >= time)
            .await;
    }

    pub(super) async fn is_red(&self) -> bool {
        self.kubernetes
            .readyz()
            .await
            .is_some_and(|code| code != 200)
    }

    /// Why it is red: `/readyz` itself withholds the reason.
    pub(super) async fn reported_error(&self) -> String {
        let check = "/readyz/kms-providers";
        self.kubernetes.request_text("GET", check, None).await.1
    }

    pub(super) async fn wait_green(&self) {
        wait::until_true("readyz is green again", NOTICED, async || {
            !self.is_red().await
        })
        .await;
    }
}

async fn soak_writes_continue_through_an_outage_and_readyz_reports_it() {
    let vault = Vault::shared().await;
    let mut cluster = Cluster::start(vault).await;
    cluster.write().await;
    let outage = Instant::now();
    cluster.proxy.fault("", Fault::Refuse);
    cluster
        .write_until("readyz turns red", NOTICED, Cluster::is_red)
        .await;
    let reported = cluster.reported_error().await;
    assert!(reported.contains("cannot be reached"), "{reported}");
    // In the middle of it the plugin dies, and comes back without Vault.
    cluster.daemon.kill();
    cluster.daemon.restart().await;
    let left = (WRITE_EXPIRY + Duration::from_secs(30)).saturating_sub(outage.elapsed());
    cluster.write_for(left).await;
    assert!(
        cluster.is_red().await,
        "readyz is green while vault is away"
    );
    cluster.proxy.clear();
    cluster.wait_green().await;
    cluster.write().await;
    read_all(&cluster.kubernetes, 0..cluster.written).await;
    let key_ids = key_ids(&cluster.etcd, cluster.written).await;
    assert_eq!(key_ids.len(), 1, "{key_ids:?}");
}

async fn soak_writes_stop_without_the_policy_and_continue_once_it_is_back() {
    let vault = Vault::shared().await;
    let mut cluster = Cluster::start(vault).await;
    cluster.write().await;
    let Fixture {
        mount, key, policy, ..
    } = cluster.fixture.clone();
    let nothing = "path \"nothing\" { capabilities = [\"read\"] }";
    vault.write_policy(&policy, nothing).await;
    wait::until_true("readyz turns red", NOTICED, async || cluster.is_red().await).await;
    let client = KmsClient::connect(cluster.daemon.socket());
    let error = client.status().await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::PermissionDenied, "{error}");
    let limit = WRITE_EXPIRY + NOTICED;
    let (code, answer) = wait::until("writes stop", limit, async || {
        tokio::time::sleep(Duration::from_secs(2)).await; // the pace
        let number = cluster.written;
        cluster.written += 1;
        let answer = cluster
            .kubernetes
            .create_secret(NAMESPACE, &name(number), &value(number))
            .await;
        (answer.0 != 201).then_some(answer)
    })
    .await;
    assert_eq!(code, 500, "{answer}");
    // What is there can be read all the time.
    read_all(&cluster.kubernetes, 0..cluster.written - 1).await;
    vault
        .write_policy(&policy, &plugin_policy(&mount, &key))
        .await;
    cluster.wait_green().await;
    cluster.write().await;
}

async fn soak_stray_refusals_of_a_proxy_change_nothing() {
    let vault = Vault::shared().await;
    let mut cluster = Cluster::start(vault).await;
    cluster.write().await;
    let denied = "1 error occurred:\n\t* permission denied\n\n";
    for stray in [
        Fault::error(403, denied),
        Fault::error(404, "no handler for route"),
    ] {
        cluster.proxy.reset_counts();
        cluster.proxy.fault_times("/keys/", stray.clone(), 1);
        cluster.proxy.fault_times("/decrypt/", stray, 1);
        // Makes the daemon look at once.
        let Fixture { mount, key, .. } = &cluster.fixture;
        vault.rotate(mount, key).await;
        let client = KmsClient::connect(cluster.daemon.socket());
        client.encrypt_v1(b"makes it look").await.unwrap();
        let key_path = format!("/v1/{mount}/keys/{key}");
        let looked = async || cluster.proxy.count(&key_path) > 0;
        wait::until_true("a look", LIMIT, looked).await;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(25) {
            assert!(
                !cluster.is_red().await,
                "one stray refusal turned readyz red"
            );
            create(&cluster.kubernetes, cluster.written).await;
            cluster.written += 1;
            tokio::time::sleep(Duration::from_secs(1)).await; // the pace
        }
        cluster.proxy.clear();
    }
    read_all(&cluster.kubernetes, 0..cluster.written).await;
}

tests! {
    multi soak_writes_continue_through_an_outage_and_readyz_reports_it soak "soak: 5 minutes, because kube-apiserver stops writing 3 minutes after the last Status";
    multi soak_writes_stop_without_the_policy_and_continue_once_it_is_back soak "soak: 6 minutes, because kube-apiserver stops writing 3 minutes after the last Status";
    multi soak_stray_refusals_of_a_proxy_change_nothing soak "soak: a minute, because kube-apiserver keeps the last Status for 20 s";
}
