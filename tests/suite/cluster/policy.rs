//! The Status policy with a real kube-apiserver, in less than a minute each; `outage.rs` has the
//! soaks, which wait until kube-apiserver stops writing.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::harness::daemon::Daemon;
use super::super::harness::kms::KmsClient;
use super::super::harness::proxy::Fault;
use super::super::harness::vault::{Fixture, Vault, plugin_policy};
use super::outage::Cluster;
use super::read_all;

/// kube-apiserver keeps a good Status for 20 s.
const REPORT_LIMIT: Duration = Duration::from_secs(40);

async fn readyz_reports_an_outage_while_writes_continue_and_nothing_restarts() {
    let mut cluster = Cluster::start(Vault::shared().await).await;
    cluster.write().await;
    cluster.proxy.fault("", Fault::Refuse);
    cluster.daemon.kill();
    // Spares the minute of tolerance: what a plugin knows of an outage before it, it has from here.
    grow_older(&cluster.daemon, Duration::from_secs(120));
    cluster.daemon.restart().await;
    reports(&mut cluster, "cannot be reached").await;
    cluster.write().await;
    cluster.proxy.clear();
    cluster.wait_green().await;
    cluster.write().await;
    read_all(&cluster.kubernetes, 0..cluster.written).await;
}

/// docs/operations/probes.md has this as a table.
async fn the_probes_of_kube_apiserver_answer_as_the_page_says() {
    let mut cluster = Cluster::start(Vault::shared().await).await;
    cluster.write().await;
    let code = async |cluster: &Cluster, path: &str| {
        let answer = cluster.kubernetes.request_text("GET", path, None);
        answer.await.0
    };
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(code(&cluster, path).await, 200, "{path}");
    }
    let listed = cluster
        .kubernetes
        .request_text("GET", "/readyz?verbose", None);
    let listed = listed.await.1;
    assert!(listed.contains("[+]kms-providers ok"), "{listed}");
    cluster.proxy.fault("", Fault::Refuse);
    cluster.daemon.kill();
    grow_older(&cluster.daemon, Duration::from_secs(120));
    cluster.daemon.restart().await;
    reports(&mut cluster, "cannot be reached").await;
    for (path, expected) in [
        ("/livez", 200),
        ("/readyz", 500),
        ("/healthz", 500),
        ("/readyz?exclude=kms-providers", 200),
        // A name that does not exist is ignored, on any path.
        ("/readyz?exclude=kms-providers&exclude=kms-provider-0", 200),
        ("/livez?exclude=kms-providers", 200),
    ] {
        assert_eq!(code(&cluster, path).await, expected, "{path}");
    }
}

/// Writes until readyz is red for this reason.
async fn reports(cluster: &mut Cluster, reason: &str) {
    cluster
        .write_until(reason, REPORT_LIMIT, async |cluster: &Cluster| {
            cluster.reported_error().await.contains(reason)
        })
        .await;
    assert!(cluster.is_red().await);
}

/// Makes the last success with Vault, as the state file has it, lie further back.
fn grow_older(daemon: &Daemon, by: Duration) {
    let path = daemon.state_path();
    let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let last = state["last_success"].as_u64().unwrap();
    state["last_success"] = json!(last - by.as_secs());
    fs::write(&path, state.to_string()).unwrap();
}

async fn readyz_fails_without_the_policy_and_succeeds_once_it_is_back() {
    let vault = Vault::shared().await;
    let mut cluster = Cluster::start(vault).await;
    cluster.write().await;
    let Fixture { mount, key, .. } = cluster.fixture.clone();
    let policy = cluster.fixture.policy.clone();
    let nothing = r#"path "nothing" { capabilities = ["read"] }"#;
    vault.write_policy(&policy, nothing).await;
    // A refused call makes the daemon look at once.
    let client = KmsClient::connect(cluster.daemon.socket());
    client.encrypt_v1(b"ping").await.unwrap_err();
    // The seed that kube-apiserver holds serves for three more minutes.
    reports(&mut cluster, "PermissionDenied").await;
    read_all(&cluster.kubernetes, 0..cluster.written).await;
    let given_back = plugin_policy(&mount, &key);
    vault.write_policy(&policy, &given_back).await;
    cluster.wait_green().await;
    cluster.write().await;
}

tests! {
    multi readyz_reports_an_outage_while_writes_continue_and_nothing_restarts [Vault, Kubernetes];
    multi the_probes_of_kube_apiserver_answer_as_the_page_says [Vault, Kubernetes];
    multi readyz_fails_without_the_policy_and_succeeds_once_it_is_back [Vault, Kubernetes];
}
