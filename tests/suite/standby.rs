//! Several Vault servers: a standby that lags behind, and a real cluster that loses its leader.

mod fail_over;
mod removed;

use std::time::{Duration, Instant};

use tonic::Code;

use super::harness::kms::KmsClient;
use super::harness::proxy::{Fault, Proxy};
use super::harness::vault::{Fixture, Vault};
use super::harness::wait;
use super::keys::state_names;
use super::{LIMIT, ready_daemon_behind_proxy};

const SEED: [u8; 32] = [17; 32];

async fn a_standby_that_lags_is_asked_again() {
    let (_fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    let behind = "requested version for encryption is higher than the latest key version";
    proxy.fault_times("/encrypt/", Fault::error(400, behind), 2);
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    let behind = "invalid ciphertext: version is too new";
    proxy.fault_times("/decrypt/", Fault::error(400, behind), 2);
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
    assert!(proxy.count("/v1/") >= 6, "{:?}", proxy.requests());
}

async fn a_standby_that_never_catches_up_is_reported_at_the_deadline() {
    let (_fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    let client = client.with_timeout(Duration::from_secs(1));
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    let behind = "invalid ciphertext: version is too new";
    proxy.fault("/decrypt/", Fault::error(400, behind));
    proxy.reset_counts();
    let start = Instant::now();
    let error = client.decrypt(&ciphertext, &key_id).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(error.message().contains("a standby that lags"), "{error}");
    let waited = start.elapsed();
    assert!(
        waited > Duration::from_millis(500) && waited < Duration::from_secs(1),
        "{waited:?}"
    );
    assert!(proxy.count("/v1/") > 3, "{:?}", proxy.requests());
}

/// From here on every look at the key is answered as before its rotation; the announced key_id.
async fn rotated_behind_a_standby_that_lags(
    fixture: &Fixture,
    proxy: &Proxy,
    client: &KmsClient,
) -> String {
    let (announced, old) = rotated(fixture, client).await;
    proxy.fault("/keys/", old);
    proxy.reset_counts();
    announced
}

/// Rotates; the key_id that is announced then, and what Vault reported of the key before.
async fn rotated(fixture: &Fixture, client: &KmsClient) -> (String, Fault) {
    let vault = Vault::shared().await;
    let path = format!("{}/keys/{}", fixture.mount, fixture.key);
    let body = vault.expect("GET", &path, None).await.to_string();
    vault.rotate(&fixture.mount, &fixture.key).await;
    let announced = wait::until("version 2", LIMIT, async || {
        client.encrypt_v1(&SEED).await.unwrap();
        let key_id = client.status().await.unwrap().key_id;
        key_id.contains(":v2:").then_some(key_id)
    })
    .await;
    let content_type = "application/json".to_owned();
    let old = Fault::Answer {
        status: 200,
        body,
        content_type,
    };
    (announced, old)
}

async fn a_standby_that_lags_ends_no_verdict() {
    let (fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    let (announced, old) = rotated(&fixture, &client).await;
    let denied = "1 error occurred:\n\t* permission denied\n\n";
    proxy.fault("/decrypt/", Fault::error(403, denied));
    let denies = async || {
        // Makes the daemon look.
        client
            .decrypt(b"vault:v1:AAAA", &announced)
            .await
            .unwrap_err();
        let status = client.status().await;
        status.is_err_and(|error| error.code() == Code::PermissionDenied)
    };
    wait::until_true("the verdict", LIMIT, denies).await;
    proxy.fault("/keys/", old);
    proxy.reset_counts();
    let looks = format!("/v1/{}/keys/", fixture.mount);
    wait::until_true("three looks", LIMIT, async || {
        assert!(denies().await, "the verdict is gone");
        proxy.count(&looks) >= 3
    })
    .await;
    proxy.clear();
    client.wait_ok(LIMIT).await;
    assert_eq!(client.encrypt(&SEED).await.unwrap().1, announced);
}

async fn a_standby_that_lags_takes_no_announced_version_back() {
    let (fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    let announced = rotated_behind_a_standby_that_lags(&fixture, &proxy, &client).await;
    let looks = format!("/v1/{}/keys/", fixture.mount);
    wait::until_true("three looks", LIMIT, async || {
        // What cannot be decrypted makes the daemon look.
        client
            .decrypt(b"vault:v1:AAAA", &announced)
            .await
            .unwrap_err();
        let status = client.status().await.unwrap();
        assert_eq!(
            (status.healthz.as_str(), &status.key_id),
            ("ok", &announced)
        );
        assert_eq!(client.encrypt(&SEED).await.unwrap().1, announced);
        proxy.count(&looks) >= 3
    })
    .await;
}

async fn a_restart_behind_a_standby_that_lags_takes_no_announced_version_back() {
    let (fixture, proxy, daemon, client) = ready_daemon_behind_proxy().await;
    let announced = rotated_behind_a_standby_that_lags(&fixture, &proxy, &client).await;
    state_names(&daemon, &announced).await;
    assert_eq!(daemon.stop().await, 0);
    proxy.reset_counts();
    daemon.restart().await;
    let client = KmsClient::connect(daemon.socket());
    // The second one begins when the first one was judged.
    let looks = format!("/v1/{}/keys/", fixture.mount);
    wait::until_true("two looks", LIMIT, async || {
        let _ = client.decrypt(b"vault:v9:AAAA", &announced).await;
        proxy.count(&looks) >= 2
    })
    .await;
    let status = client.status().await.unwrap();
    assert_eq!(
        (status.healthz.as_str(), &status.key_id),
        ("ok", &announced)
    );
    assert_eq!(client.encrypt(&SEED).await.unwrap().1, announced);
}

async fn soak_a_standby_that_lags_for_minutes_takes_nothing_back_from_an_idle_daemon() {
    let (fixture, proxy, daemon, client) = ready_daemon_behind_proxy().await;
    let announced = rotated_behind_a_standby_that_lags(&fixture, &proxy, &client).await;
    let decrypts = format!("/v1/{}/decrypt/", fixture.mount);
    // At the minute the canary of the announced version is asked for, and it is there.
    let limit = Duration::from_secs(110);
    wait::until_true("the canary to be decrypted", limit, async || {
        let status = client.status().await.unwrap();
        assert_eq!(
            (status.healthz.as_str(), &status.key_id),
            ("ok", &announced)
        );
        proxy.count(&decrypts) > 0
    })
    .await;
    assert_eq!(client.encrypt(&SEED).await.unwrap().1, announced);
    assert!(
        !daemon.log().contains("a restored snapshot"),
        "{}",
        daemon.log()
    );
}

tests! {
    [fail_over, removed]
    single a_standby_that_lags_is_asked_again [Vault];
    single a_standby_that_never_catches_up_is_reported_at_the_deadline [Vault];
    single a_standby_that_lags_ends_no_verdict [Vault];
    single a_standby_that_lags_takes_no_announced_version_back [Vault];
    single a_restart_behind_a_standby_that_lags_takes_no_announced_version_back [Vault];
    single soak_a_standby_that_lags_for_minutes_takes_nothing_back_from_an_idle_daemon soak "soak: 95 s, an earlier version is believed a minute after the look that met it";
}
