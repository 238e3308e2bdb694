//! Log lines about an outage: its beginning, and its end with duration and number of failures.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tonic::Code;

use super::harness::daemon::Daemon;
use super::harness::kms::KmsClient;
use super::harness::proxy::Fault;
use super::harness::scrape::Metrics;
use super::harness::vault::Vault;
use super::{LIMIT, daemon_at, ready_daemon_behind_proxy};

/// As many as a connection carries at a time.
const CALLS: usize = 64;
const SEED: [u8; 32] = [7; 32];

fn events(daemon: &Daemon, message: &str) -> Vec<Value> {
    let mut lines = daemon.log_lines();
    lines.retain(|line| line["message"] == message);
    lines
}

/// All of them fail.
async fn fail(client: &KmsClient, calls: usize, code: Code) {
    let calls = (0..calls).map(|_| client.encrypt(&SEED));
    for outcome in join_all(calls).await {
        assert_eq!(outcome.unwrap_err().code(), code);
    }
}

async fn an_outage_is_one_line_and_its_end_another_that_counts_the_calls() {
    let (_fixture, proxy, daemon, client) = ready_daemon_behind_proxy().await;
    let client = client.with_timeout(Duration::from_secs(2));
    proxy.fault("/encrypt/", Fault::error(503, "Vault is sealed"));
    fail(&client, CALLS, Code::Unavailable).await;
    daemon.logged("call failed").await;
    proxy.clear();
    client.encrypt(&SEED).await.unwrap();
    daemon.logged("calls recovered").await;
    let failed = events(&daemon, "call failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["operation"], "encrypt");
    assert_eq!(failed[0]["kms"], "v2");
    let over = events(&daemon, "calls recovered");
    assert_eq!(over.len(), 1, "{over:?}");
    assert_eq!(over[0]["operation"], "encrypt");
    assert_eq!(over[0]["failed"], CALLS);
    let lasted = humantime::parse_duration(over[0]["lasted"].as_str().unwrap()).unwrap();
    assert!(lasted < LIMIT, "{lasted:?}");
}

async fn another_reason_during_an_outage_has_a_line_of_its_own() {
    let (_fixture, proxy, daemon, client) = ready_daemon_behind_proxy().await;
    let client = client.with_timeout(Duration::from_secs(2));
    proxy.fault("/encrypt/", Fault::error(503, "Vault is sealed"));
    fail(&client, 10, Code::Unavailable).await;
    proxy.clear();
    proxy.fault("/encrypt/", Fault::error(400, "no such thing"));
    fail(&client, 1, Code::InvalidArgument).await;
    daemon.logged("no such thing").await;
    let failed = events(&daemon, "call failed");
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert_eq!(failed[1]["suppressed"], 9);
}

async fn a_login_logs_how_many_failed_before_it_and_for_how_long() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_at(&vault.address(), &fixture)
        .token("")
        .spawn()
        .await;
    daemon.logged("login to Vault failed").await;
    daemon.write_token(&fixture.token);
    daemon.logged("logged in to Vault").await;
    let failed = events(&daemon, "login to Vault failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
    let login = &events(&daemon, "logged in to Vault")[0];
    assert!(login["failed"].as_u64().unwrap() >= 1, "{login}");
    humantime::parse_duration(login["lasted"].as_str().unwrap()).unwrap();
    let class = [("class", "credential")];
    let metrics = Metrics::of(&daemon).await;
    let failures = metrics.value("vault_kms_plugin_login_failures_total", &class);
    assert!(failures >= 1.0, "{}", metrics.text);
}

tests! {
    single an_outage_is_one_line_and_its_end_another_that_counts_the_calls [Vault];
    single another_reason_during_an_outage_has_a_line_of_its_own [Vault];
    single a_login_logs_how_many_failed_before_it_and_for_how_long [Vault];
}
