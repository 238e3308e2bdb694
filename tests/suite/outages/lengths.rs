//! Outages longer than the lifetime of the tokens, while callers continue: how long after Vault's
//! return the first call succeeds.

use std::time::{Duration, Instant};

use serde_json::json;
use tonic::Code;

use crate::LIMIT;
use crate::authentication::approle::AppRole;
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::load::Load;
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::vault::Vault;
use crate::harness::vault::cluster::Cluster;
use crate::harness::wait;

/// Longer than the lifetime of the tokens of these tests.
const AWAY: Duration = Duration::from_secs(8);
/// The promise is two seconds; a loaded machine gets more.
const BACK_WITHIN: Duration = Duration::from_secs(6);

/// Subjects a daemon with tokens of 4 s to an outage under load.
async fn endures(vault: &Vault, away: Duration, sealed: bool) {
    let fixture = vault.fixture().await;
    let approle = AppRole::short(vault, &fixture, 4, 8).await;
    let daemon = approle.daemon(&vault.address(), &fixture).0.spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let load = Load::start(vec![client.clone(); 4], Duration::from_millis(50));
    load.progress(20, LIMIT).await;
    if sealed {
        vault.seal().await;
    } else {
        vault.kill();
    }
    tokio::time::sleep(away).await;
    if !sealed {
        vault.restart_sealed().await;
    }
    let back = vault.unseal_active().await;
    let first = load.success_after(back, LIMIT).await - back;
    let way = if sealed { "sealed" } else { "killed" };
    eprintln!("{way} for {away:?}: the first call succeeded {first:?} after the return");
    assert!(first < BACK_WITHIN, "{first:?}");
    load.progress(40, LIMIT).await;
    let outcome = load.stop().await;
    // No longer than a call may wait.
    let settled = back + first + Duration::from_secs(3);
    let late: Vec<_> = outcome
        .failures
        .iter()
        .filter(|failure| failure.at > settled)
        .collect();
    assert!(late.is_empty(), "{late:?}");
}

async fn calls_succeed_soon_after_a_killed_vault_returns_although_all_tokens_expired() {
    let vault = Vault::start_persistent().await;
    endures(&vault, AWAY, false).await;
}

async fn calls_succeed_soon_after_a_vault_is_unsealed_although_all_tokens_expired() {
    let vault = Vault::start_persistent().await;
    endures(&vault, AWAY, true).await;
}

async fn soak_the_length_of_an_outage_does_not_delay_the_return() {
    let vault = Vault::start_persistent().await;
    for seconds in [2, 20, 60, 180] {
        for sealed in [false, true] {
            endures(&vault, Duration::from_secs(seconds), sealed).await;
        }
    }
}

async fn an_unavailable_vault_gets_health_checks_and_no_logins() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    let approle = AppRole::short(&vault, &fixture, 3, 3).await;
    let proxy = Proxy::start(vault.socket_address());
    let daemon = approle.daemon(&proxy.address(), &fixture).0.spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    vault.seal().await;
    daemon.logged("Vault is sealed").await;
    wait::until_true("the session's end", LIMIT, async || {
        let outcome = client.encrypt(&[1; 32]).await;
        outcome.is_err_and(|error| error.message().contains("Vault is sealed"))
    })
    .await;
    proxy.reset_counts();
    let (start, asks) = (Instant::now(), 5);
    wait::until_true("health checks", LIMIT, async || {
        proxy.count("/v1/sys/health") >= asks
    })
    .await;
    // Every second, or somewhat sooner while calls wait.
    assert!(
        start.elapsed() > Duration::from_secs(2),
        "{asks} in {:?}",
        start.elapsed()
    );
    assert_eq!(proxy.count(&approle.login_path()), 0);
}

async fn calls_succeed_soon_after_a_cluster_that_lost_its_quorum_elects_a_leader() {
    let cluster = Cluster::start().await;
    let vault = cluster.node(cluster.leader().await);
    let fixture = vault.fixture().await;
    let approle = AppRole::short(vault, &fixture, 4, 8).await;
    let addresses = cluster.addresses();
    let (builder, _) = approle.daemon(&addresses[0], &fixture);
    let all = format!("[vault]\naddress = {addresses:?}");
    let daemon = builder.extra(&all).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let first = cluster.kill_leader().await;
    let second = cluster.kill_leader().await;
    let error = wait::until("calls to fail", LIMIT, async || {
        client.encrypt(&[1; 32]).await.err()
    })
    .await;
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    let load = Load::start(vec![client; 2], Duration::from_millis(50));
    let led = async {
        cluster.leader().await;
        Instant::now()
    };
    let ((), led) = tokio::join!(cluster.bring_back(first), led);
    let back = load.success_after(led, LIMIT).await - led;
    eprintln!("the first call succeeded {back:?} after the election was seen");
    assert!(back < BACK_WITHIN, "{back:?}");
    load.stop().await;
    cluster.bring_back(second).await;
}

async fn a_standby_without_a_leader_gets_no_logins() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let approle = AppRole::new(vault, &fixture, json!({})).await;
    let proxy = Proxy::start(vault.socket_address());
    let answer = |body: serde_json::Value| Fault::Answer {
        status: 200,
        body: body.to_string(),
        content_type: "application/json".to_owned(),
    };
    // The response of a node whose leader has just stepped down.
    let standby = json!({ "initialized": true, "sealed": false, "standby": true });
    proxy.fault("/sys/health", answer(standby));
    let none = json!({ "ha_enabled": true, "is_self": false, "leader_address": "" });
    proxy.fault("/sys/leader", answer(none));
    let daemon = approle.daemon(&proxy.address(), &fixture).0.spawn().await;
    let client = KmsClient::connect(daemon.socket());
    let error = client.encrypt(&[1; 32]).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(error.message().contains("Vault has no leader"), "{error}");
    assert_eq!(proxy.count(&approle.login_path()), 0);
    proxy.clear();
    client.wait_ok(LIMIT).await;
}

async fn three_nodes_return_despite_a_rate_limit_and_honour_retry_after() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    let approle = AppRole::short(&vault, &fixture, 4, 8).await;
    let headers = json!({ "enable_rate_limit_response_headers": true });
    vault
        .expect("POST", "sys/quotas/config", Some(headers))
        .await;
    let proxy = Proxy::start(vault.socket_address());
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(approle.daemon(&proxy.address(), &fixture).0.spawn().await);
    }
    for node in &nodes {
        KmsClient::connect(node.socket()).wait_ok(LIMIT).await;
    }
    let limit = json!({ "path": format!("auth/{}", approle.mount), "rate": 1, "interval": "3s" });
    vault
        .expect("POST", "sys/quotas/rate-limit/logins", Some(limit))
        .await;
    vault.kill();
    tokio::time::sleep(AWAY).await;
    vault.restart().await;
    proxy.reset_counts();
    let begun = Instant::now();
    let all: Vec<_> = nodes.iter().map(encrypts).collect();
    futures_util::future::join_all(all).await;
    // One login every three seconds is admitted. A refused node waits as long as Retry-After says, so
    // each node tries at most twice in that time, even on a slow machine.
    let intervals = begun.elapsed().as_secs() as usize / 3 + 1;
    let logins = proxy.count(&approle.login_path());
    eprintln!("three nodes returned within {intervals} times 3 s with {logins} logins");
    assert!((3..=6 * intervals).contains(&logins), "{logins} logins");
}

async fn encrypts(node: &Daemon) {
    let client = KmsClient::connect(node.socket());
    wait::until("calls to work", LIMIT, async || {
        client.encrypt(&[1; 32]).await.ok()
    })
    .await;
}

tests! {
    single calls_succeed_soon_after_a_killed_vault_returns_although_all_tokens_expired [Vault];
    single calls_succeed_soon_after_a_vault_is_unsealed_although_all_tokens_expired [Vault];
    single soak_the_length_of_an_outage_does_not_delay_the_return soak "soak: 10 min, outages of up to three minutes";
    single an_unavailable_vault_gets_health_checks_and_no_logins [Vault];
    single calls_succeed_soon_after_a_cluster_that_lost_its_quorum_elects_a_leader [Vault];
    single a_standby_without_a_leader_gets_no_logins [Vault];
    single three_nodes_return_despite_a_rate_limit_and_honour_retry_after [Vault];
}
