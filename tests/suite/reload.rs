//! SIGHUP: a valid configuration is applied while calls continue, an invalid one changes nothing.

mod refused;
mod storm;

use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::authentication::approle::AppRole;
use super::harness::child::free_port;
use super::harness::daemon::Daemon;
use super::harness::kms::KmsClient;
use super::harness::load::Load;
use super::harness::proxy::{Fault, Proxy};
use super::harness::vault::{Fixture, Vault, plugin_policy};
use super::harness::wait;
use super::{LIMIT, daemon_for, ready_daemon, ready_daemon_behind_proxy};

const SEED: [u8; 32] = [23; 32];
const TAKEN_OVER: &str = "configuration reloaded";

/// How often the daemon has taken a configuration over.
fn taken_over(daemon: &Daemon) -> usize {
    daemon.log().matches(TAKEN_OVER).count()
}

/// Changes the configuration, and waits until it is in force.
async fn reloaded(daemon: &Daemon, change: &str) {
    let before = taken_over(daemon);
    daemon.change_config(change);
    daemon.signal(Signal::HUP);
    wait::until_true("the reload", LIMIT, async || taken_over(daemon) > before).await;
}

/// A daemon whose token may use every key of its mount, under steady load.
async fn under_load() -> (Fixture, Daemon, KmsClient, Load) {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let all = plugin_policy(&fixture.mount, "*");
    vault.write_policy(&fixture.policy, &all).await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let load = Load::start(vec![client.clone(); 4], Duration::from_millis(5));
    load.progress(8, LIMIT).await;
    (fixture, daemon, client, load)
}

async fn ended_well(load: Load) {
    load.progress(40, LIMIT).await;
    load.stop().await.expect_no_failure();
}

/// The table of a writing key and one that still decrypts.
fn moved(fixture: &Fixture, key: &str, also: &str) -> String {
    format!(
        "[transit]\nkey = \"{key}\"\n[[transit.decrypt_also]]\nmount = \"{}\"\nkey = \"{also}\"",
        fixture.mount
    )
}

async fn another_key_writes_and_the_one_before_still_reads() {
    let (fixture, daemon, client, load) = under_load().await;
    let vault = Vault::shared().await;
    vault.create_key(&fixture.mount, "next").await;
    let (old, before) = client.encrypt(&SEED).await.unwrap();
    reloaded(&daemon, &moved(&fixture, "next", &fixture.key)).await;
    let status = client.status().await.unwrap();
    assert!(status.key_id.contains(":next:v1:"), "{status:?}");
    let (new, key_id) = client.encrypt(&SEED).await.unwrap();
    assert_eq!(key_id, status.key_id);
    for (ciphertext, key_id) in [(&old, &before), (&new, &key_id)] {
        assert_eq!(client.decrypt(ciphertext, key_id).await.unwrap(), SEED);
    }
    ended_well(load).await;
}

async fn another_address_and_another_login_keep_the_key_id() {
    let (fixture, daemon, client, load) = under_load().await;
    let vault = Vault::shared().await;
    let before = client.status().await.unwrap();
    let proxy = Proxy::start(vault.socket_address());
    reloaded(
        &daemon,
        &format!("[vault]\naddress = \"{}\"", proxy.address()),
    )
    .await;
    assert_eq!(client.status().await.unwrap(), before);
    client.encrypt(&SEED).await.unwrap();
    assert!(proxy.count(&format!("/v1/{}/encrypt/", fixture.mount)) > 0);

    let approle = AppRole::new(vault, &fixture, json!({})).await;
    let text = std::fs::read_to_string(daemon.config_path()).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    table.remove("auth");
    daemon.write_config(&table.to_string());
    let login = format!(
        "[auth]\nmethod = \"approle\"\nmount = \"{}\"\nrole_id = \"{}\"\nsecret_id = \"{}\"",
        approle.mount, approle.role_id, approle.secret_id
    );
    reloaded(&daemon, &login).await;
    assert_eq!(proxy.count(&approle.login_path()), 1);
    assert_eq!(client.status().await.unwrap(), before);
    // The token before is nobody's any more, and was not ours to end.
    vault.revoke(&fixture.token).await;
    ended_well(load).await;
}

async fn the_socket_moves_and_open_connections_stay() {
    let (_fixture, daemon, client, load) = under_load().await;
    let (old, new) = (
        daemon.socket().to_owned(),
        daemon.socket().with_extension("new"),
    );
    let mode = |path: &std::path::Path| {
        let data = std::fs::metadata(path).unwrap();
        data.permissions().mode() & 0o777
    };
    reloaded(&daemon, "[socket]\nmode = \"0640\"").await;
    assert_eq!(mode(&old), 0o640);
    reloaded(&daemon, &format!("[socket]\npath = \"{}\"", new.display())).await;
    wait::until_true("the old socket to go", LIMIT, async || !old.exists()).await;
    assert_eq!(mode(&new), 0o640);
    let newcomer = KmsClient::connect(&new);
    assert_eq!(
        newcomer.status().await.unwrap(),
        client.status().await.unwrap()
    );
    ended_well(load).await;
    assert_eq!(daemon.stop().await, 0);
    assert!(!new.exists());
}

async fn probes_move_and_the_bounds_change() {
    let (_fixture, daemon, _client, load) = under_load().await;
    let admin = format!("127.0.0.1:{}", free_port());
    let change = format!("[admin]\nlisten = \"{admin}\"\n[limits]\nmax_waiting = 7");
    reloaded(&daemon, &change).await;
    let url = format!("http://{admin}/readyz");
    wait::until_true("the probes at their new place", LIMIT, async || {
        let answer = reqwest::get(&url).await;
        answer.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    assert!(daemon.try_admin("/livez").await.is_err());
    ended_well(load).await;
}

/// What everybody changes who lets Prometheus scrape the plugin from elsewhere.
async fn the_admin_port_is_opened_to_the_network_and_closed_again() {
    let (_fixture, daemon, _client, load) = under_load().await;
    let here = daemon.admin_address().to_owned();
    let port = here.rsplit(':').next().unwrap();
    reloaded(&daemon, &format!("[admin]\nlisten = \"0.0.0.0:{port}\"")).await;
    daemon.logged("admin.listen: other hosts reach").await;
    let (code, text) = daemon.admin("/status").await;
    assert_eq!(code, 200, "{text}");
    if let Some(outside) = own_address() {
        let code = async |path: &str| {
            let url = format!("http://{outside}:{port}/{path}");
            reqwest::get(url).await.unwrap().status().as_u16()
        };
        assert_eq!(code("metrics").await, 200);
        assert_eq!(code("status").await, 404);
        assert_eq!(code("status.json").await, 404);
    }
    reloaded(&daemon, &format!("[admin]\nlisten = \"{here}\"")).await;
    let (code, text) = daemon.admin("/livez").await;
    assert_eq!(code, 200, "{text}");
    ended_well(load).await;
}

/// An address of this host that is not loopback, if there is one. Nothing is sent.
pub(super) fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then_some(address)
}

async fn an_admin_socket_that_cannot_be_made_is_refused() {
    let (_fixture, daemon, _client) = ready_daemon().await;
    let before = std::fs::read_to_string(daemon.config_path()).unwrap();
    daemon.change_config("[admin]\nlisten = \"unix:/nonexistent/admin.sock\"");
    daemon.signal(Signal::HUP);
    daemon.logged("configuration rejected").await;
    assert!(daemon.log().contains("/nonexistent/admin.sock"));
    daemon.write_config(&before);
    let (code, text) = daemon.admin("/livez").await;
    assert_eq!(code, 200, "{text}");
}

async fn a_peer_that_is_no_longer_allowed_is_disconnected() {
    let (_fixture, daemon, client) = ready_daemon().await;
    let steady = tokio::spawn({
        let client = client.clone();
        async move { while client.status().await.is_ok() {} }
    });
    // A connection with calls all the time, so that nothing else closes it.
    let nobody_here = "[socket]\nallow_uids = [54321]";
    reloaded(&daemon, nobody_here).await;
    tokio::time::timeout(LIMIT, steady).await.unwrap().unwrap();
    daemon
        .logged("closed connections of peers that are no longer allowed")
        .await;
    client.status().await.unwrap_err();
    let own = rustix::process::getuid().as_raw();
    reloaded(&daemon, &format!("[socket]\nallow_uids = [{own}]")).await;
    client.wait_ok(LIMIT).await;
}

async fn a_new_limit_holds_for_a_connection_that_is_open() {
    let (_fixture, proxy, daemon, client) = ready_daemon_behind_proxy().await;
    let steady = tokio::spawn({
        let client = client.clone();
        // No pause, so that the connection is never closed for being idle, and no call fails.
        async move {
            loop {
                if let Err(error) = client.status().await {
                    return error;
                }
            }
        }
    });
    reloaded(&daemon, "[limits]\nmax_waiting = 2").await;
    proxy.fault("/encrypt/", Fault::Hang);
    let refused = wait::until("a call to be refused", LIMIT, async || {
        let calls = (0..4).map(|_| client.with_timeout(Duration::from_millis(300)));
        let calls = calls.map(|client| async move { client.encrypt(b"waits").await });
        let answers = futures_util::future::join_all(calls).await;
        let codes = answers.into_iter().filter_map(|it| Some(it.err()?.code()));
        let refused = codes.filter(|code| *code == tonic::Code::ResourceExhausted);
        Some(refused.count()).filter(|count| *count > 0)
    })
    .await;
    assert_eq!(refused, 2);
    assert!(!steady.is_finished(), "{:?}", steady.await);
    steady.abort();
}

/// The start that is pending would otherwise begin a second server, which nobody ends.
async fn a_reload_while_the_admin_server_restarts_leaves_one_server() {
    let builder = Daemon::builder()
        .vault("http://127.0.0.1:9")
        .transit("transit", "kms")
        .token("x");
    let taken = std::net::TcpListener::bind(builder.admin_address()).unwrap();
    let daemon = builder.spawn().await;
    let failures = || daemon.log().matches("actor failed").count();
    wait::until_true("failures", LIMIT, async || failures() >= 5).await;
    let (first, second) = (free_port(), free_port());
    let answers = async |port: u16| {
        let answer = reqwest::get(format!("http://127.0.0.1:{port}/livez")).await;
        answer.is_ok_and(|answer| answer.status() == 200)
    };
    reloaded(&daemon, &format!("[admin]\nlisten = \"127.0.0.1:{first}\"")).await;
    wait::until_true("the probes", LIMIT, async || answers(first).await).await;
    let before = failures();
    // Longer than the wait of the restart that was pending.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(failures(), before, "{}", daemon.log());
    reloaded(
        &daemon,
        &format!("[admin]\nlisten = \"127.0.0.1:{second}\""),
    )
    .await;
    wait::until_true("the probes", LIMIT, async || answers(second).await).await;
    assert!(!answers(first).await, "an orphan answers");
    drop(taken);
}

async fn the_limits_of_an_outage_can_be_changed_during_one() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    vault.kill();
    reloaded(&daemon, "[health]\ntolerance = \"2h\"\nfail_after = \"3h\"").await;
    assert_eq!(client.status().await.unwrap().healthz, "ok");
    // What is not asked of Vault needs no proof; what is does.
    let login = "[vault]\nnamespace = \"elsewhere\"";
    daemon.change_config(login);
    daemon.signal(Signal::HUP);
    daemon.logged("configuration rejected").await;
    assert_eq!(client.status().await.unwrap().healthz, "ok");
}

async fn the_log_changes_its_form() {
    let (_fixture, daemon, _client, load) = under_load().await;
    reloaded(&daemon, "[log]\nformat = \"text\"\nlevel = \"info\"").await;
    let text = |line: &str| line.contains(TAKEN_OVER) && !line.starts_with('{');
    let is_text = || daemon.log().lines().any(text);
    wait::until_true("a line of text", LIMIT, async || is_text()).await;
    reloaded(&daemon, "[log]\nformat = \"json\"").await;
    wait::until_true("a line of JSON", LIMIT, async || {
        let last = daemon.log_lines().pop();
        last.is_some_and(|line| line["message"] == TAKEN_OVER)
    })
    .await;
    ended_well(load).await;
}

async fn a_burst_of_signals_is_one_reload_or_two() {
    let (_fixture, daemon, _client, load) = under_load().await;
    daemon.change_config("[limits]\nmax_waiting = 9");
    for _ in 0..50 {
        daemon.signal(Signal::HUP);
    }
    wait::until_true("the reload", LIMIT, async || taken_over(&daemon) > 0).await;
    ended_well(load).await;
    let reloads = taken_over(&daemon);
    assert!(reloads <= 10, "{reloads}");
}

tests! {
    [refused, storm]
    single another_key_writes_and_the_one_before_still_reads [Vault];
    single another_address_and_another_login_keep_the_key_id [Vault];
    single the_socket_moves_and_open_connections_stay [Vault];
    single probes_move_and_the_bounds_change [Vault];
    single the_admin_port_is_opened_to_the_network_and_closed_again [Vault];
    single an_admin_socket_that_cannot_be_made_is_refused [Vault];
    single a_peer_that_is_no_longer_allowed_is_disconnected [Vault];
    single a_new_limit_holds_for_a_connection_that_is_open [Vault];
    single a_reload_while_the_admin_server_restarts_leaves_one_server;
    single the_limits_of_an_outage_can_be_changed_during_one [Vault];
    single the_log_changes_its_form [Vault];
    single a_burst_of_signals_is_one_reload_or_two [Vault];
}
