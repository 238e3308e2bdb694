//! Outages: Vault unreachable, sealed, restarted, without the key or the mount.

mod audit;
mod clock;
mod lengths;
mod soaks;
mod two_hours;

use std::time::{Duration, Instant};

use tonic::Code;

use super::harness::kms::KmsClient;
use super::harness::proxy::{Fault, Proxy};
use super::harness::vault::Vault;
use super::harness::wait;
use super::{LIMIT, daemon_for, ready_daemon_behind_proxy};

const SEED: [u8; 32] = [5; 32];

async fn an_unreachable_vault_at_start_is_reported_and_its_return_is_noticed_within_five_seconds() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    vault.kill();
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let pid = daemon.pid();
    let client = KmsClient::connect(daemon.socket());
    for error in [
        client.status().await.unwrap_err(),
        client.encrypt(&SEED).await.unwrap_err(),
        client.decrypt(b"vault:v1:AAAA", "x").await.unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(error.message().contains(&vault.address()), "{error}");
        assert!(error.message().contains("refused"), "{error}");
    }
    assert_eq!(daemon.admin("/livez").await.0, 200);
    assert_eq!(daemon.admin("/readyz").await.0, 503);
    vault.restart().await;
    let back = Instant::now();
    wait::until("a call to work", LIMIT, async || {
        client.encrypt(&SEED).await.ok()
    })
    .await;
    assert!(
        back.elapsed() < Duration::from_secs(5),
        "{:?}",
        back.elapsed()
    );
    assert_eq!(daemon.pid(), pid);
    client.wait_ok(LIMIT).await;
    assert_eq!(daemon.admin("/readyz").await, (200, "ok\n".to_owned()));
}

async fn a_sealed_vault_changes_no_status_and_calls_work_once_it_is_unsealed() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    let before = client.wait_ok(LIMIT).await;
    vault.seal().await;
    let error = client.encrypt(&SEED).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(error.message().contains("sealed"), "{error}");
    assert_eq!(client.status().await.unwrap(), before);
    vault.unseal().await;
    wait::until("a call to work", LIMIT, async || {
        client.encrypt(&SEED).await.ok()
    })
    .await;
}

async fn a_short_outage_does_not_reach_callers() {
    let (_fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    let blinks = [
        Fault::Refuse,
        Fault::error(
            500,
            "local node not active but active cluster node not found",
        ),
        Fault::error(503, "Vault is sealed"),
        Fault::error(429, "request path \"x\": rate limit quota exceeded"),
        Fault::Answer {
            status: 502,
            body: "<html>bad gateway</html>".into(),
            content_type: "text/html".into(),
        },
        Fault::Answer {
            status: 200,
            body: "no json".into(),
            content_type: "application/json".into(),
        },
        Fault::Cut,
        Fault::Huge(2 * 1024 * 1024),
    ];
    for blink in blinks {
        proxy.fault_times("/encrypt/", blink.clone(), 2);
        let answer = client.encrypt(&SEED).await;
        assert!(answer.is_ok(), "{blink:?}: {answer:?}");
    }
}

async fn truncated_and_oversized_responses_are_reported_and_cost_no_memory() {
    let (_fixture, proxy, daemon, client) = ready_daemon_behind_proxy().await;
    let client = client.with_timeout(Duration::from_secs(1));
    let before = daemon.rss_kib();
    let huge = Fault::Huge(50 * 1024 * 1024);
    for (fault, code, cause) in [
        (
            Fault::Cut,
            Code::Unavailable,
            "connection closed while reading the response",
        ),
        (huge, Code::Internal, "its body is larger than 1 MiB"),
    ] {
        proxy.clear();
        proxy.fault("/encrypt/", fault.clone());
        let error = client.encrypt(&SEED).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(cause), "{fault:?}: {error}");
    }
    let grown = daemon.rss_kib().saturating_sub(before);
    eprintln!("50 MiB answered several times: {grown} KiB more");
    assert!(grown < 16 * 1024, "{grown} KiB");
    proxy.clear();
    client.encrypt(&SEED).await.unwrap();
}

async fn an_unresponsive_vault_is_reported_before_the_callers_deadline() {
    let (_fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    let client = client.with_timeout(Duration::from_secs(1));
    proxy.fault("", Fault::Hang);
    let mut fastest = Duration::MAX;
    // The margin is 100 ms: a busy machine may miss it now and then.
    for _ in 0..5 {
        let start = Instant::now();
        let error = client.encrypt(&SEED).await.unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
        let text = error.message();
        assert!(text.contains("no answer in time from"), "{error}");
        fastest = fastest.min(start.elapsed());
        if fastest < client.timeout {
            break;
        }
    }
    assert!(fastest < client.timeout, "{fastest:?}");
    assert_eq!(client.status().await.unwrap().healthz, "ok");
}

async fn a_missing_key_and_a_wrong_mount_are_reported_with_the_remedy() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    // A token that may read everything, because an ordinary policy causes a 403 instead.
    let wrong = [
        (
            "nowhere",
            fixture.key.as_str(),
            "no transit engine is mounted at nowhere",
        ),
        (
            fixture.mount.as_str(),
            "missing",
            "or create it if nothing was ever encrypted with it, or correct transit.key",
        ),
    ];
    for (mount, key, remedy) in wrong {
        let fixture = vault.fixture().await;
        let daemon = daemon_for(&vault.address(), &fixture)
            .transit(mount, key)
            .token(vault.root_token())
            .spawn()
            .await;
        let client = KmsClient::connect(daemon.socket()).with_timeout(LIMIT);
        let error = client.encrypt(&SEED).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
        assert!(error.message().contains(remedy), "{error}");
    }
}

async fn a_single_refusal_does_not_change_status() {
    let (fixture, proxy, daemon, client) = ready_daemon_behind_proxy().await;
    let vault = Vault::shared().await;
    // Causes a refresh of the key, which is refused once.
    proxy.fault_times(
        "/keys/",
        Fault::error(403, "1 error occurred:\n\t* permission denied\n\n"),
        1,
    );
    vault.rotate(&fixture.mount, &fixture.key).await;
    client.encrypt_v1(&SEED).await.unwrap();
    daemon.logged("transit key refresh failed").await;
    assert_eq!(client.status().await.unwrap().healthz, "ok");
    wait::until("the next refresh to succeed", LIMIT, async || {
        let key_id = client.status().await.unwrap().key_id;
        key_id.contains(":v2:").then_some(())
    })
    .await;
}

async fn the_next_address_is_used_if_one_does_not_answer() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let both = format!(
        "[vault]\naddress = [\"http://127.0.0.1:9\", \"{}\"]",
        vault.address()
    );
    let daemon = daemon_for(&vault.address(), &fixture)
        .extra(&both)
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    client.encrypt(&SEED).await.unwrap();
}

async fn an_unresponsive_address_fails_no_call() {
    let vault = Vault::shared().await;
    let (fixture, address) = (vault.fixture().await, vault.address());
    let proxy = Proxy::start(vault.socket_address());
    let both = format!(
        "[vault]\naddress = [\"{}\", \"{address}\"]",
        proxy.address()
    );
    let daemon = daemon_for(&address, &fixture).extra(&both).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let client = client.with_timeout(Duration::from_secs(1));
    client.encrypt(&SEED).await.unwrap();
    proxy.fault("", Fault::Hang);
    // The request is hedged to the next endpoint in time, which is preferred from then on.
    client.encrypt(&SEED).await.unwrap();
    proxy.reset_counts();
    client.encrypt(&SEED).await.unwrap();
    assert_eq!(proxy.count("/v1/"), 0, "{:?}", proxy.requests());
}

tests! {
    [audit, clock, lengths, soaks, two_hours]
    single an_unreachable_vault_at_start_is_reported_and_its_return_is_noticed_within_five_seconds [Vault];
    single a_sealed_vault_changes_no_status_and_calls_work_once_it_is_unsealed [Vault];
    single a_short_outage_does_not_reach_callers [Vault];
    single truncated_and_oversized_responses_are_reported_and_cost_no_memory [Vault];
    single an_unresponsive_vault_is_reported_before_the_callers_deadline [Vault];
    single a_missing_key_and_a_wrong_mount_are_reported_with_the_remedy [Vault];
    single a_single_refusal_does_not_change_status [Vault];
    single the_next_address_is_used_if_one_does_not_answer [Vault];
    single an_unresponsive_address_fails_no_call [Vault];
}
