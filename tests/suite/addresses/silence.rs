//! Connections whose peer vanished without closing them, and Vaults that are merely slow.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::super::harness::daemon::Builder;
use super::super::harness::forwarder::Forwarder;
use super::super::harness::kms::KmsClient;
use super::super::harness::proxy::{Fault, Proxy};
use super::super::harness::vault::{Fixture, Vault};
use super::super::harness::wait;
use super::super::{LIMIT, daemon_at, daemon_for, ready_daemon_behind_proxy};
use super::{SEED, encrypt_time};

async fn silent_connections_are_replaced_within_five_seconds() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let forwarder = Forwarder::start(vault.socket_address());
    let daemon = daemon_for(&forwarder.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    // All of several idle connections fall silent.
    join_all((0..5).map(|_| client.encrypt(&SEED))).await;
    let kept = forwarder.connections();
    forwarder.silence_all();
    let start = Instant::now();
    for call in join_all((0..5).map(|_| client.encrypt(&SEED))).await {
        call.unwrap();
    }
    let first = start.elapsed();
    let second = encrypt_time(&client).await;
    eprintln!("{kept} silent connections: {first:?}, then {second:?}");
    assert!(first < Duration::from_secs(3), "{first:?}");
    assert!(second < Duration::from_millis(900), "{second:?}");

    // Even with a deadline before the hedge, the next call uses new connections.
    join_all((0..5).map(|_| client.encrypt(&SEED))).await;
    forwarder.silence_all();
    let hurried = client.with_timeout(Duration::from_millis(500));
    let start = Instant::now();
    wait::until("a call to work", LIMIT, async || {
        hurried.encrypt(&SEED).await.ok()
    })
    .await;
    let took = start.elapsed();
    eprintln!("calls of half a second work again after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// A daemon that logs in by a password, with tokens of a few seconds.
async fn by_password(vault: &Vault, fixture: &Fixture, address: &str) -> Builder {
    let mount = format!("silent-{}", fixture.mount.replace('/', "-"));
    vault.enable_auth("userpass", &mount).await;
    let user = json!({
        "password": "x",
        "token_policies": [fixture.policy],
        "token_ttl": "3s",
        "token_max_ttl": "3s",
    });
    let path = format!("auth/{mount}/users/plugin");
    vault.expect("POST", &path, Some(user)).await;
    let builder = daemon_at(address, fixture);
    let password = builder.write_file("password", "x");
    let auth = format!(
        "[auth]\nmethod = \"userpass\"\nmount = \"{mount}\"\nusername = \"plugin\"\npassword_file = \"{}\"",
        password.display()
    );
    builder.extra(&auth)
}

async fn a_login_does_not_wait_for_an_unresponsive_address() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let hanging = Proxy::start(vault.socket_address());
    hanging.fault("", Fault::Hang);
    let both = [hanging.address(), vault.address()];
    let daemon = by_password(vault, &fixture, &vault.address())
        .await
        .extra(&format!("[vault]\naddress = {both:?}"))
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    let took = encrypt_time(&client).await;
    eprintln!("the first of two addresses hangs: the first call took {took:?}");
    // A login itself waits 10 s for an answer.
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(hanging.count("/v1/auth/"), 0);
}

async fn a_login_uses_no_connection_that_fell_silent() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let forwarder = Forwarder::start(vault.socket_address());
    let daemon = by_password(vault, &fixture, &forwarder.address())
        .await
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    // Without calls, the login before the token's expiry finds only silent connections.
    forwarder.silence_all();
    let silenced = Instant::now();
    wait::until_true("the next login", LIMIT, async || {
        daemon.log().matches("logged in to Vault").count() > 1
    })
    .await;
    let took = silenced.elapsed();
    eprintln!("the next login came {took:?} after all connections fell silent");
    assert!(took < Duration::from_secs(9), "{took:?}");
}

async fn connections_are_reused() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let forwarder = Forwarder::start(vault.socket_address());
    let daemon = daemon_for(&forwarder.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let before = forwarder.connections();
    for _ in 0..50 {
        client.encrypt(&SEED).await.unwrap();
    }
    // A busy machine may pause for so long that an idle one was closed.
    let new = forwarder.connections() - before;
    assert!(new <= 5, "{new} new connections for 50 calls");
}

async fn a_slow_vault_does_not_get_every_request_twice() {
    let (_fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    proxy.fault("/encrypt/", Fault::Delay(Duration::from_secs(2)));
    let many = 20;
    for call in join_all((0..many).map(|_| client.encrypt(&SEED))).await {
        call.unwrap();
    }
    // After 1.5 s without a response one call is hedged; the next ones are not.
    let first = proxy.count("/v1/");
    proxy.reset_counts();
    for call in join_all((0..many).map(|_| client.encrypt(&SEED))).await {
        call.unwrap();
    }
    let then = proxy.count("/v1/");
    eprintln!("{many} slow calls: {first} requests, then {then}");
    assert!(first <= many + 4, "{first}");
    assert!(then <= many + 2, "{then}");
}

tests! {
    single silent_connections_are_replaced_within_five_seconds [Vault];
    single a_login_does_not_wait_for_an_unresponsive_address [Vault];
    single a_login_uses_no_connection_that_fell_silent [Vault];
    single connections_are_reused [Vault];
    single a_slow_vault_does_not_get_every_request_twice [Vault];
}
