//! The addresses of Vault: several of them, sockets, and what is in between.

mod names;
mod proxies;
mod redirects;
mod silence;
mod unable;

use std::time::{Duration, Instant};

use super::harness::daemon::Daemon;
use super::harness::forwarder::BlackHole;
use super::harness::kms::KmsClient;
use super::harness::proxy::{Fault, Proxy};
use super::harness::vault::{Fixture, Vault};
use super::{LIMIT, daemon_for};

const SEED: [u8; 32] = [6; 32];

/// A daemon with these addresses, in this order.
async fn daemon_with(addresses: &[&str], fixture: &Fixture) -> Daemon {
    daemon_for("http://127.0.0.1:9", fixture)
        .extra(&format!("[vault]\naddress = {addresses:?}"))
        .spawn()
        .await
}

/// How long an Encrypt takes, which must succeed.
async fn encrypt_time(client: &KmsClient) -> Duration {
    let start = Instant::now();
    client.encrypt(&SEED).await.unwrap();
    start.elapsed()
}

async fn unreachable_addresses_cost_one_second_once() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let hole = BlackHole::open().await;
    let all = [&*hole.address(), "http://127.0.0.1:9", &*vault.address()];
    let daemon = daemon_with(&all, &fixture).await;
    let client = KmsClient::connect(daemon.socket());
    let first = encrypt_time(&client).await;
    let mut worst = Duration::ZERO;
    for _ in 0..20 {
        worst = worst.max(encrypt_time(&client).await);
    }
    eprintln!("a black hole and a closed port first: {first:?}, then at most {worst:?}");
    assert!(first < Duration::from_millis(2500), "{first:?}");
    assert!(worst < Duration::from_millis(900), "{worst:?}");
}

async fn an_unreachable_address_is_not_retried_when_another_one_fails() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let hole = BlackHole::open().await;
    let proxy = Proxy::start(vault.socket_address());
    let all = [&*hole.address(), &*proxy.address(), &*vault.address()];
    let daemon = daemon_with(&all, &fixture).await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    proxy.fault("", Fault::Refuse);
    let took = encrypt_time(&client).await;
    eprintln!("the second of three fails, the first is a black hole: {took:?}");
    assert!(took < Duration::from_millis(900), "{took:?}");
}

async fn a_single_address_that_drops_connections_is_reported_within_the_callers_deadline() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let hole = BlackHole::open().await;
    let daemon = daemon_with(&[&hole.address()], &fixture).await;
    let client = KmsClient::connect(daemon.socket());
    let error = client.encrypt(&SEED).await.unwrap_err();
    assert!(error.message().contains(&hole.address()), "{error}");
    assert!(error.message().contains("no connection within"), "{error}");
}

async fn an_endpoint_that_cannot_serve_is_replaced_by_the_next_one() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let sick = [
        Fault::error(503, "Vault is sealed"),
        Fault::error(
            500,
            "local node not active but active cluster node not found",
        ),
        Fault::Answer {
            status: 502,
            body: "<html>bad gateway</html>".into(),
            content_type: "text/html".into(),
        },
    ];
    for fault in sick {
        let proxy = Proxy::start(vault.socket_address());
        let all = [&*proxy.address(), &*vault.address()];
        let daemon = daemon_with(&all, &fixture).await;
        let client = KmsClient::connect(daemon.socket());
        client.wait_ok(LIMIT).await;
        proxy.reset_counts();
        proxy.fault("", fault);
        let took = encrypt_time(&client).await;
        eprintln!("to the next node: {took:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(proxy.requests().len(), 1);
        // The working endpoint stays preferred, even when the first one works again.
        proxy.clear();
        encrypt_time(&client).await;
        assert_eq!(proxy.requests().len(), 1);
    }
}

async fn a_unix_socket_of_vault_is_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault.sock");
    let listener = format!(
        "listener \"unix\" {{\n address = \"{}\"\n tls_disable = true\n}}",
        path.display()
    );
    let vault = Vault::start_persistent_with(&listener).await;
    let fixture = vault.fixture().await;
    let address = format!("unix://{}", path.display());
    // No proxy is used for a socket.
    let daemon = daemon_for(&address, &fixture)
        .env("http_proxy", "http://127.0.0.1:9")
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    encrypt_time(&client).await;
    vault.kill();
    let error = client.encrypt(&SEED).await.unwrap_err();
    assert!(error.message().contains(&address), "{error}");
}

async fn plain_http_over_a_network_must_be_allowed_and_causes_a_warning() {
    let builder = || {
        Daemon::builder()
            .vault("http://192.0.2.1:8200")
            .transit("transit", "kms")
            .token("x")
    };
    let daemon = builder().spawn_raw();
    assert_eq!(daemon.wait_exit(LIMIT).await, 78);
    let log = daemon.log();
    assert!(log.contains("would send the token and every seed"), "{log}");
    let daemon = builder()
        .extra("[vault]\nallow_plaintext = true")
        .spawn()
        .await;
    daemon
        .logged("http://192.0.2.1:8200 sends the token and every seed unencrypted")
        .await;
}

tests! {
    [names, proxies, redirects, silence, unable]
    single unreachable_addresses_cost_one_second_once [Vault];
    single an_unreachable_address_is_not_retried_when_another_one_fails [Vault];
    single a_single_address_that_drops_connections_is_reported_within_the_callers_deadline [Vault];
    single an_endpoint_that_cannot_serve_is_replaced_by_the_next_one [Vault];
    single a_unix_socket_of_vault_is_an_address [Vault];
    single plain_http_over_a_network_must_be_allowed_and_causes_a_warning;
}
