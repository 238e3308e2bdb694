//! Soak tests: tokens of a few seconds, an unreliable Vault, hundreds of logins. Each in a short form
//! for every run, and some in a long one.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::authentication::approle::AppRole;
use crate::harness::kms::KmsClient;
use crate::harness::load::Load;
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::vault::Vault;
use crate::harness::wait;
use crate::{LIMIT, ready_daemon_behind_proxy};

/// Runs three nodes for this time, with tokens of 2 s that can be renewed up to 4 s, at 20 calls a
/// second each. No call fails. Returns the logins and the renewals.
async fn tokens_of_two_seconds(time: Duration) -> (usize, usize) {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let approle = AppRole::short(vault, &fixture, 2, 4).await;
    let proxy = Proxy::start(vault.socket_address());
    let (mut nodes, mut loads) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let node = approle.daemon(&proxy.address(), &fixture).0.spawn().await;
        let client = KmsClient::connect(node.socket());
        client.wait_ok(LIMIT).await;
        loads.push(Load::start(vec![client], Duration::from_millis(50)));
        nodes.push(node);
    }
    tokio::time::sleep(time).await;
    let mut calls = 0;
    for load in loads {
        let outcome = load.stop().await;
        outcome.expect_no_failure();
        calls += outcome.calls;
    }
    let logins = proxy.count(&approle.login_path());
    let renewals = proxy.count("/v1/auth/token/renew-self");
    eprintln!("{time:?} of tokens of 2 s: {logins} logins, {renewals} renewals, {calls} calls");
    (logins, renewals)
}

async fn no_call_fails_with_tokens_of_two_seconds() {
    let (logins, renewals) = tokens_of_two_seconds(Duration::from_secs(15)).await;
    assert!(logins >= 6 && renewals >= 6, "{logins} {renewals}");
}

async fn soak_ten_minutes_of_tokens_of_two_seconds() {
    let (logins, renewals) = tokens_of_two_seconds(Duration::from_secs(600)).await;
    assert!(logins >= 150 && renewals >= 600, "{logins} {renewals}");
}

/// A fifth of all responses, to whatever request, is a transient error. At most one call in two
/// thousand fails within kube-apiserver's 3 s.
async fn unreliable(calls: u64) {
    let (_fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    // Four rules in a row leave four fifths: 1 - 0.8^(1/4).
    let share = 0.0543;
    let gateway = Fault::Answer {
        status: 502,
        body: "<html>bad gateway</html>".to_owned(),
        content_type: "text/html".to_owned(),
    };
    let faults = [
        Fault::error(429, "request path \"x\": rate limit quota exceeded"),
        Fault::error(500, "internal error"),
        gateway,
        Fault::error(503, "Vault is sealed"),
    ];
    for fault in faults {
        proxy.fault_share("", fault, share);
    }
    let load = Load::start(vec![client; 8], Duration::ZERO);
    load.progress(calls, LIMIT * 10).await;
    let outcome = load.stop().await;
    eprintln!(
        "a fifth of all answers a fault: {} of {} calls failed",
        outcome.failures.len(),
        outcome.calls
    );
    let most = outcome.calls / 2000;
    assert!(
        outcome.failures.len() as u64 <= most,
        "{:?}",
        outcome.failures
    );
}

async fn single_faults_do_not_reach_callers() {
    unreliable(2_500).await;
}

async fn soak_single_faults_do_not_reach_callers() {
    unreliable(40_000).await;
}

/// Each reload logs in by a session of its own. Tokens that are revoked one after another would be paced.
async fn hundreds_of_logins_leave_no_memory_behind() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let approle = AppRole::new(vault, &fixture, json!({})).await;
    let proxy = Proxy::start(vault.socket_address());
    let daemon = approle
        .daemon(&proxy.address(), &fixture)
        .0
        .release()
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let mut halfway = 0;
    for login in 1..=300 {
        proxy.reset_counts();
        let change = format!("[vault]\nallow_plaintext = {}", login % 2 == 0);
        daemon.change_config(&change);
        daemon.signal(Signal::HUP);
        let applied = async || daemon.log().matches("configuration reloaded").count() >= login;
        wait::until_true("the reload", LIMIT, applied).await;
        client.encrypt(&[3; 32]).await.unwrap();
        assert_eq!(proxy.count(&approle.login_path()), 1, "login {login}");
        // By then the allocator has reached its maximum.
        if login == 150 {
            halfway = daemon.rss_kib();
        }
    }
    let end = daemon.rss_kib();
    eprintln!("resident after 150 logins {halfway} KiB, after 300 {end} KiB");
    assert!(end < halfway + 512, "{halfway} {end}");
}

tests! {
    single no_call_fails_with_tokens_of_two_seconds [Vault];
    single soak_ten_minutes_of_tokens_of_two_seconds soak "soak: 10 min";
    single single_faults_do_not_reach_callers [Vault];
    single soak_single_faults_do_not_reach_callers soak "soak: a minute or two, 40,000 calls";
    single hundreds_of_logins_leave_no_memory_behind [Vault];
}
