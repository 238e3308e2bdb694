//! Addresses at which something answers that cannot serve: they keep the plugin neither from starting
//! nor from working while another address can serve.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::super::authentication::wrapped::wrapped;
use super::super::harness::certificates::Certificates;
use super::super::harness::daemon::Daemon;
use super::super::harness::kms::KmsClient;
use super::super::harness::proxy::{Fault, Proxy};
use super::super::harness::vault::Vault;
use super::super::harness::vault::cluster::Cluster;
use super::super::harness::wait;
use super::super::tls::{trusting, vault_with_tls};
use super::super::{LIMIT, daemon_at, daemon_for};
use super::{SEED, daemon_with, encrypt_time};

/// A real server that is sealed, as after each restart with a Shamir seal.
async fn sealed() -> Vault {
    let vault = Vault::start_persistent().await;
    vault.seal().await;
    vault
}

/// An answer to `sys/health` or `sys/leader`.
fn answer(body: serde_json::Value) -> Fault {
    Fault::Answer {
        status: 200,
        body: body.to_string(),
        content_type: "application/json".to_owned(),
    }
}

async fn a_daemon_starts_although_the_first_addresses_are_sealed() {
    let (first, second) = tokio::join!(sealed(), sealed());
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let two = [first.address(), vault.address()];
    let three = [first.address(), second.address(), vault.address()];
    for addresses in [&two[..], &three] {
        let all: Vec<_> = addresses.iter().map(String::as_str).collect();
        let daemon = daemon_with(&all, &fixture).await;
        let client = KmsClient::connect(daemon.socket());
        let took = encrypt_time(&client).await;
        eprintln!("{} of {} are sealed: {took:?}", all.len() - 1, all.len());
        client.wait_ok(LIMIT).await;
    }
}

async fn every_address_is_named_with_its_reason_while_none_can_serve() {
    let first = sealed().await;
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let all = [&*first.address(), "http://127.0.0.1:9"];
    let daemon = daemon_with(&all, &fixture).await;
    let client = KmsClient::connect(daemon.socket());
    let error = client.encrypt(&SEED).await.unwrap_err();
    for text in [
        format!("{}: Vault is sealed", first.address()),
        "http://127.0.0.1:9 cannot be reached".to_owned(),
        "unseal it".to_owned(),
    ] {
        assert!(error.message().contains(&text), "no {text:?} in: {error}");
    }
    first.unseal().await;
    // The token is not known there, which is another reason.
    daemon.logged("login by token failed").await;
}

async fn a_reload_to_addresses_of_which_the_first_is_sealed_is_applied() {
    let first = sealed().await;
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let all = [first.address(), vault.address()];
    daemon.change_config(&format!("[vault]\naddress = {all:?}"));
    daemon.signal(Signal::HUP);
    daemon.logged("configuration re").await;
    let log = daemon.log();
    assert!(log.contains("configuration reloaded"), "{log}");
    encrypt_time(&client).await;
}

async fn check_logs_in_although_the_first_address_is_sealed() {
    let first = sealed().await;
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let all = [first.address(), vault.address()];
    let builder =
        daemon_for(&vault.address(), &fixture).extra(&format!("[vault]\naddress = {all:?}"));
    let config = builder.dir().join("config.toml").display().to_string();
    let check = builder
        .arguments(&["check", "--config", &config])
        .spawn_raw();
    check.wait_exit(LIMIT).await;
    let text = check.log();
    for line in ["✗ vault: ", "✓ login: by token", "✓ round trip: "] {
        assert!(text.contains(line), "no {line:?} in:\n{text}");
    }
}

async fn a_session_continues_and_a_daemon_starts_while_nodes_of_a_cluster_are_sealed() {
    let cluster = Cluster::start().await;
    let fixture = cluster.node(cluster.leader().await).fixture().await;
    let addresses = cluster.addresses();
    let all: Vec<_> = addresses.iter().map(String::as_str).collect();
    let running = daemon_with(&all, &fixture).await;
    let client = KmsClient::connect(running.socket());
    client.wait_ok(LIMIT).await;
    // As after a reboot of the node: with two of three there is a leader.
    cluster.node(0).restart_sealed().await;
    cluster.leader().await;
    wait::until("a call to work", LIMIT, async || {
        client.encrypt(&SEED).await.ok()
    })
    .await;
    for _ in 0..10 {
        let took = encrypt_time(&client).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    let started = daemon_with(&all, &fixture).await;
    KmsClient::connect(started.socket()).wait_ok(LIMIT).await;
}

async fn a_server_that_says_that_it_cannot_serve_is_passed_over_at_the_start() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let body = |more: &str, value: serde_json::Value| {
        let mut body = json!({ "initialized": true, "sealed": false, "standby": true });
        body[more] = value;
        answer(body)
    };
    // No leader; a disaster-recovery secondary; what Vault answers with 474 and with 530.
    let faults = [
        body("performance_standby", json!(false)),
        body("replication_dr_mode", json!("secondary")),
        body("ha_connection_healthy", json!(false)),
        body("removed_from_cluster", json!(true)),
    ];
    for fault in faults {
        let proxy = Proxy::start(vault.socket_address());
        proxy.fault("", Fault::error(503, "cannot serve"));
        let leader = json!({ "ha_enabled": true, "is_self": false, "leader_address": "" });
        proxy.fault("/sys/leader", answer(leader));
        proxy.fault("/sys/health", fault);
        let daemon = daemon_with(&[&proxy.address(), &vault.address()], &fixture).await;
        KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
        // Nothing but its health was asked for.
        let seen = proxy.requests();
        let others = seen.iter().filter(|seen| !seen.path.contains("/sys/"));
        assert_eq!(others.count(), 0, "{seen:?}");
    }
}

async fn an_error_of_one_address_is_not_believed_while_another_one_serves() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let errors = [
        (400, "path disabled in replication DR secondary mode"),
        (403, "1 error occurred:\n\t* permission denied\n\n"),
        (403, "permission denied"),
        (400, "no decryption key available for term 4"),
        (404, "no handler for route \"x\". route entry not found."),
        (472, "x"),
        (473, "x"),
        (474, "x"),
        (530, "x"),
    ];
    for (status, text) in errors {
        let proxy = Proxy::start(vault.socket_address());
        let daemon = daemon_with(&[&proxy.address(), &vault.address()], &fixture).await;
        let client = KmsClient::connect(daemon.socket());
        client.wait_ok(LIMIT).await;
        let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
        proxy.fault("", Fault::error(status, text));
        proxy.reset_counts();
        let took = encrypt_time(&client).await;
        assert!(took < Duration::from_secs(1), "{status} {text}: {took:?}");
        assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
        // From then on the other one is asked alone.
        assert_eq!(proxy.requests().len(), 1, "{status} {text}");
        if status < 470 && !text.contains("DR secondary") {
            daemon.logged("refused what another one served").await;
            assert!(daemon.log().contains(&proxy.address()));
        }
    }
}

async fn an_error_that_every_address_gives_is_the_answer() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let (first, second) = (
        Proxy::start(vault.socket_address()),
        Proxy::start(vault.socket_address()),
    );
    let daemon = daemon_with(&[&first.address(), &second.address()], &fixture).await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let denied = Fault::error(403, "1 error occurred:\n\t* permission denied\n\n");
    first.fault("/encrypt/", denied.clone());
    second.fault("/encrypt/", denied);
    first.reset_counts();
    let error = client.encrypt(&SEED).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::PermissionDenied, "{error}");
    let path = format!("/v1/{}/encrypt/", fixture.mount);
    assert_eq!((first.count(&path), second.count(&path)), (1, 1));
    // The one that did not refuse it is still preferred; a silent one delays no answer for long.
    second.clear();
    second.fault("", Fault::Hang);
    client.encrypt(&SEED).await.unwrap_err();
    let start = std::time::Instant::now();
    client.encrypt(&SEED).await.unwrap_err();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
}

async fn an_unwrapping_that_may_have_been_carried_out_is_not_repeated_at_another_address() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let mount = format!("unable-{}", fixture.mount);
    vault.enable_auth("approle", &mount).await;
    let role = format!("auth/{mount}/role/plugin");
    let policies = json!({ "token_policies": [fixture.policy] });
    vault.expect("POST", &role, Some(policies)).await;
    let role_id = vault.expect("GET", &format!("{role}/role-id"), None).await;
    let token = wrapped(vault, &format!("{role}/secret-id")).await;
    let (first, second) = (
        Proxy::start(vault.socket_address()),
        Proxy::start(vault.socket_address()),
    );
    first.fault("/sys/wrapping/unwrap", Fault::Cut);
    let builder = daemon_at(&first.address(), &fixture);
    let file = builder.write_file("wrapping-token", &token);
    let daemon = builder
        .extra(&format!(
            "[vault]\naddress = {:?}\n[auth]\nmethod = \"approle\"\nmount = \"{mount}\"\n\
             role = \"plugin\"\nrole_id = {}\nwrapped_secret_id_file = {file:?}",
            [first.address(), second.address()],
            role_id["data"]["role_id"]
        ))
        .spawn()
        .await;
    // Another attempt begins with another look-up.
    wait::until_true("the next attempt", LIMIT, async || {
        second.count("/v1/sys/wrapping/unwrap") > 0
    })
    .await;
    assert_eq!(first.count("/v1/sys/wrapping/unwrap"), 1);
    let seen = second.requests();
    let paths: Vec<_> = seen.iter().map(|seen| seen.path.as_str()).collect();
    let looked_up = paths.iter().position(|path| path.ends_with("/lookup"));
    let unwrapped = paths.iter().position(|path| path.ends_with("/unwrap"));
    assert!(looked_up.is_some() && looked_up < unwrapped, "{paths:?}");
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
}

async fn an_ip_address_as_the_servers_name_is_not_connected_to() {
    let certificates = Certificates::new();
    certificates.issue(
        "vault.example",
        rcgen::ExtendedKeyUsagePurpose::ServerAuth,
        |params| {
            params.subject_alt_names = vec![rcgen::SanType::IpAddress([10, 0, 0, 5].into())];
        },
    );
    // As through a tunnel: the certificate is for the machine at its other end.
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let named = "tls_server_name = \"10.0.0.5\"";
    let daemon: Daemon = trusting(daemon_for(&address, &fixture), &certificates, named)
        .spawn()
        .await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
}

tests! {
    single a_daemon_starts_although_the_first_addresses_are_sealed [Vault];
    single every_address_is_named_with_its_reason_while_none_can_serve [Vault];
    single a_reload_to_addresses_of_which_the_first_is_sealed_is_applied [Vault];
    single check_logs_in_although_the_first_address_is_sealed [Vault];
    single a_session_continues_and_a_daemon_starts_while_nodes_of_a_cluster_are_sealed [Vault];
    single a_server_that_says_that_it_cannot_serve_is_passed_over_at_the_start [Vault];
    single an_error_of_one_address_is_not_believed_while_another_one_serves [Vault];
    single an_error_that_every_address_gives_is_the_answer [Vault];
    single an_unwrapping_that_may_have_been_carried_out_is_not_repeated_at_another_address [Vault];
    single an_ip_address_as_the_servers_name_is_not_connected_to [Vault];
}
