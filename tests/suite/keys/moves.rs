//! Another key than before: under another name, mount or namespace, with and without the old one
//! still decrypting.

use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::json;
use tonic::Code;

use super::{SEED, state_names, works};
use crate::harness::child::clean_environment;
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::vault::{Fixture, Vault};
use crate::harness::wait;
use crate::{LIMIT, daemon_for};

async fn other_keys_may_still_decrypt() {
    let vault = Vault::shared().await;
    let (old, new, daemon) = moved_from_old_to_new(vault).await;
    let (by_old, old_id) = wrapped_by(vault, &old).await;
    // What vault-kubernetes-kms wrote looks like this: Transit's text, under a key_id of its own.
    let by_stranger = vault.encrypt(&old.mount, &old.key, b"by the old key").await;
    let client = KmsClient::connect(daemon.socket());
    let status = client.wait_ok(LIMIT).await;
    assert!(status.key_id.contains(&new.mount), "{}", status.key_id);
    assert_eq!(client.decrypt(&by_old, &old_id).await.unwrap(), SEED);
    assert_eq!(client.decrypt_v1(&by_old).await.unwrap(), SEED);
    let foreign = client
        .decrypt(by_stranger.as_bytes(), "somebody else's key_id")
        .await;
    assert_eq!(foreign.unwrap(), b"by the old key");
    // A key_id that names one of our keys is taken at its word.
    let misnamed = client.decrypt(&by_old, &status.key_id).await.unwrap_err();
    assert_eq!(misnamed.code(), Code::InvalidArgument, "{misnamed}");
}

async fn an_older_key_with_more_versions_is_still_found_under_v1() {
    let vault = Vault::shared().await;
    let (old, _new, daemon) = moved_from_old_to_new(vault).await;
    for _ in 0..3 {
        vault.rotate(&old.mount, &old.key).await;
    }
    let by_old = vault.encrypt(&old.mount, &old.key, &SEED).await;
    assert!(by_old.starts_with("vault:v4:"), "{by_old}");
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    assert_eq!(client.decrypt_v1(by_old.as_bytes()).await.unwrap(), SEED);
}

/// KMS v1 names no key: each is tried once before the first is tried again.
async fn a_key_that_fails_transiently_leaves_the_others_their_time() {
    let vault = Vault::shared().await;
    let proxy = Proxy::start(vault.socket_address());
    let (old, new, daemon) = moved_at(vault, &proxy.address(), "").await;
    let by_old = vault.encrypt(&old.mount, &old.key, &SEED).await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let path = format!("/v1/{}/decrypt/", new.mount);
    proxy.fault(&path, Fault::error(503, "Vault is sealed"));
    proxy.reset_counts();
    assert_eq!(client.decrypt_v1(by_old.as_bytes()).await.unwrap(), SEED);
    assert_eq!(proxy.count(&path), 1, "{:?}", proxy.requests());
}

/// Reads of old data must not hide that nothing can be written.
async fn a_decrypt_by_another_key_does_not_keep_status_ok() {
    let vault = Vault::shared().await;
    let proxy = Proxy::start(vault.socket_address());
    let health = "[health]\ntolerance = \"1m\"";
    let (old, new, daemon) = moved_at(vault, &proxy.address(), health).await;
    let (by_old, old_id) = wrapped_by(vault, &old).await;
    let client = KmsClient::connect(daemon.socket());
    let key_id = client.wait_ok(LIMIT).await.key_id;
    let state = state_names(&daemon, &key_id).await;
    assert_eq!(daemon.stop().await, 0);
    // As if the writing key had last worked two minutes ago.
    let mut state: serde_json::Value = serde_json::from_str(&state).unwrap();
    state["last_success"] = json!(state["last_success"].as_u64().unwrap() - 120);
    let path = daemon.state_path();
    std::fs::write(path, state.to_string()).unwrap();
    let fault = Fault::error(503, "Vault is sealed");
    proxy.fault(&format!("/v1/{}/", new.mount), fault);
    daemon.restart().await;
    let client = KmsClient::connect(daemon.socket());
    let read = wait::until("a Decrypt", LIMIT, async || {
        client.decrypt(&by_old, &old_id).await.ok()
    });
    assert_eq!(read.await, SEED);
    let status = client.status().await.unwrap();
    assert_ne!(status.healthz, "ok");
    proxy.clear();
    assert_eq!(client.wait_ok(LIMIT).await.key_id, key_id);
}

/// Two keys, and a daemon that writes with the new one and still reads the old one's.
async fn moved_from_old_to_new(vault: &Vault) -> (Fixture, Fixture, Daemon) {
    moved_at(vault, &vault.address(), "").await
}

/// The same with this address of Vault and more configuration.
async fn moved_at(vault: &Vault, address: &str, more: &str) -> (Fixture, Fixture, Daemon) {
    let (old, new) = (vault.fixture().await, vault.fixture().await);
    let policies = [old.policy.as_str(), new.policy.as_str()];
    let token = vault
        .create_token(serde_json::json!({ "policies": policies }))
        .await;
    let also = format!(
        "[[transit.decrypt_also]]\nmount = \"{}\"\nkey = \"{}\"",
        old.mount, old.key
    );
    let builder = daemon_for(address, &new).token(&token);
    let daemon = builder.extra(&also).extra(more).spawn().await;
    (old, new, daemon)
}

async fn wrapped_by(vault: &Vault, fixture: &Fixture) -> (Vec<u8>, String) {
    let daemon = daemon_for(&vault.address(), fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    client.encrypt(&SEED).await.unwrap()
}

/// Stops the daemon, changes its configuration, starts it again.
async fn moved(daemon: &Daemon, toml: &str) -> KmsClient {
    daemon.stop().await;
    daemon.change_config(toml);
    daemon.restart().await;
    KmsClient::connect(daemon.socket())
}

async fn another_name_mount_or_namespace_is_another_key_id_and_the_start_says_so() {
    let vault = Vault::shared().await;
    let (here, there) = (vault.fixture().await, vault.fixture().await);
    vault.create_key(&here.mount, "other").await;
    let namespace = format!("team-{}", here.mount);
    has_namespace_with(vault, &namespace, &here).await;
    let moves = [
        "[transit]\nkey = \"other\"".to_owned(),
        format!("[transit]\nmount = \"{}\"", there.mount),
        format!("[vault]\nnamespace = \"{namespace}\""),
    ];
    for toml in moves {
        let daemon = daemon_for(&vault.address(), &here)
            .token(vault.root_token())
            .spawn()
            .await;
        let client = KmsClient::connect(daemon.socket());
        let before = client.wait_ok(LIMIT).await.key_id;
        state_names(&daemon, &before).await;
        let client = moved(&daemon, &toml).await;
        let after = client.wait_ok(LIMIT).await.key_id;
        assert_ne!(after, before);
        assert_eq!(works(&client).await, after);
        let logged = daemon.log_lines().into_iter().any(|line| {
            let text = line.to_string();
            line["level"] == "ERROR" && text.contains(&before) && text.contains("decrypt_also")
        });
        assert!(logged, "{}", daemon.log());
    }
}

/// What `check` says of a daemon's configuration.
fn check(daemon: &Daemon) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vault-kms-plugin"));
    clean_environment(&mut command);
    command.arg("check").arg("--config");
    command.arg(daemon.config_path()).output().unwrap()
}

/// KEP-3299: a key_id must not be used again after another one.
async fn a_return_to_an_earlier_key_is_reported_and_a_suffix_makes_a_new_key_id() {
    let vault = Vault::shared().await;
    let here = vault.fixture().await;
    vault.create_key(&here.mount, "other").await;
    let daemon = daemon_for(&vault.address(), &here)
        .token(vault.root_token())
        .spawn()
        .await;
    let is_reported = || daemon.log().contains("key_id announced again");
    let first = KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    let (ciphertext, _) = KmsClient::connect(daemon.socket())
        .encrypt(&SEED)
        .await
        .unwrap();
    state_names(&daemon, &first.key_id).await;
    let other = "[transit]\nkey = \"other\"";
    let client = moved(&daemon, other).await;
    let second = client.wait_ok(LIMIT).await;
    state_names(&daemon, &second.key_id).await;
    assert!(!is_reported(), "{}", daemon.log());
    let back = format!("[transit]\nkey = \"{}\"", here.key);
    daemon.stop().await;
    daemon.change_config(&back);
    // Before it happens, `check` says so.
    let report = check(&daemon);
    let text = String::from_utf8_lossy(&report.stdout);
    assert_eq!(report.status.code(), Some(78), "{text}");
    assert!(text.contains("set transit.key_id_suffix"), "{text}");
    // With a suffix it is a key_id that never was.
    let suffixed = format!("{back}\nkey_id_suffix = \"again\"");
    let client = moved(&daemon, &suffixed).await;
    let third = client.wait_ok(LIMIT).await;
    assert_eq!(third.key_id, format!("{}:again", first.key_id));
    let read = client.decrypt(&ciphertext, &first.key_id).await;
    assert_eq!(read.unwrap(), SEED);
    assert_eq!(works(&client).await, third.key_id);
    assert!(!is_reported(), "{}", daemon.log());
    // A reload without it returns to the first: served, and reported.
    let text = std::fs::read_to_string(daemon.config_path()).unwrap();
    daemon.write_config(&text.replace("key_id_suffix = \"again\"\n", ""));
    daemon.signal(Signal::HUP);
    daemon.logged("configuration reloaded").await;
    assert_eq!(client.wait_ok(LIMIT).await.key_id, first.key_id);
    daemon.logged("key_id announced again").await;
}

async fn a_minimum_above_an_announced_version_is_reported_before_a_decrypt_fails() {
    let vault = Vault::shared().await;
    let here = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &here)
        .token(vault.root_token())
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let text = "min_decryption_version is above an announced version";
    vault.rotate(&here.mount, &here.key).await;
    client.encrypt_v1(&SEED).await.unwrap();
    let second = wait::until("the new version to be announced", LIMIT, async || {
        let status = client.status().await.ok()?;
        Some(status.key_id).filter(|key_id| key_id.contains(":v2:"))
    })
    .await;
    state_names(&daemon, &second).await;
    assert!(!daemon.log().contains(text), "{}", daemon.log());
    let config = format!("{}/keys/{}/config", here.mount, here.key);
    let minimum = json!({ "min_decryption_version": 2 });
    vault.expect("POST", &config, Some(minimum)).await;
    // Not to wait for the next refresh.
    assert_eq!(daemon.stop().await, 0);
    daemon.restart().await;
    daemon.logged(text).await;
}

/// The same mount and key in a namespace. Vault without a licence knows none and ignores the
/// header: then it is the same key under another key_id, which is all that this test needs.
async fn has_namespace_with(vault: &Vault, namespace: &str, fixture: &Fixture) {
    let path = format!("sys/namespaces/{namespace}");
    if vault.request("POST", &path, Some(json!({}))).await.0 < 300 {
        let mount = format!("{namespace}/sys/mounts/{}", fixture.mount);
        let transit = json!({ "type": "transit" });
        vault.expect("POST", &mount, Some(transit)).await;
        let inside = format!("{namespace}/{}", fixture.mount);
        vault.create_key(&inside, &fixture.key).await;
    }
}

async fn what_a_key_left_behind_wrote_is_refused_with_the_remedy() {
    let vault = Vault::shared().await;
    let (old, new) = (vault.fixture().await, vault.fixture().await);
    let (by_old, old_id) = wrapped_by(vault, &old).await;
    let daemon = daemon_for(&vault.address(), &new).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let error = client.decrypt(&by_old, &old_id).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    assert!(error.message().contains(&old_id), "{error}");
    assert!(error.message().contains("transit.decrypt_also"), "{error}");
}

async fn a_move_with_the_old_key_still_reading_is_no_error() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    vault.create_key(&fixture.mount, "other").await;
    let daemon = daemon_for(&vault.address(), &fixture)
        .token(vault.root_token())
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let (old, before) = client.encrypt(&SEED).await.unwrap();
    state_names(&daemon, &before).await;
    let toml = format!(
        "[transit]\nkey = \"other\"\n[[transit.decrypt_also]]\nkey = \"{}\"\nmount = \"{}\"",
        fixture.key, fixture.mount
    );
    let client = moved(&daemon, &toml).await;
    client.wait_ok(LIMIT).await;
    assert_ne!(works(&client).await, before);
    assert_eq!(client.decrypt(&old, &before).await.unwrap(), SEED);
    assert_eq!(client.decrypt_v1(&old).await.unwrap(), SEED);
    daemon
        .logged("data of the previous key can still be decrypted")
        .await;
    assert!(
        !daemon.log().contains("\"level\":\"ERROR\""),
        "{}",
        daemon.log()
    );
}

/// The count may not be complete when somebody removes it.
async fn a_key_that_is_removed_while_it_may_be_needed_is_reported_and_named_by_each_decrypt() {
    let vault = Vault::shared().await;
    let here = vault.fixture().await;
    vault.create_key(&here.mount, "other").await;
    // So that the version of the first key is none that the second has.
    vault.rotate(&here.mount, &here.key).await;
    let daemon = daemon_for(&vault.address(), &here)
        .token(vault.root_token())
        .spawn()
        .await;
    let first = KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    let client = KmsClient::connect(daemon.socket());
    let (ciphertext, _) = client.encrypt(&SEED).await.unwrap();
    state_names(&daemon, &first.key_id).await;
    let both = format!(
        "[transit]\nkey = \"other\"\n[[transit.decrypt_also]]\nmount = \"{}\"\nkey = \"{}\"",
        here.mount, here.key
    );
    let client = moved(&daemon, &both).await;
    let second = client.wait_ok(LIMIT).await;
    state_names(&daemon, &second.key_id).await;
    let warning = "a key that was announced is not configured";
    assert!(!daemon.log().contains(warning), "{}", daemon.log());
    daemon.change_config("[transit]\ndecrypt_also = []");
    let said = check(&daemon);
    let text = String::from_utf8_lossy(&said.stdout);
    let expected = format!(
        "! key_id: {} was announced here, and its key is not",
        first.key_id
    );
    assert!(text.contains(&expected), "{text}");
    daemon.signal(Signal::HUP);
    daemon.logged(warning).await;
    let error = client
        .decrypt(&ciphertext, &first.key_id)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    for part in [
        "names a key that is neither transit.key nor in transit.decrypt_also",
        "add that key to transit.decrypt_also",
    ] {
        assert!(error.message().contains(part), "{error}");
    }
}

tests! {
    single a_key_that_is_removed_while_it_may_be_needed_is_reported_and_named_by_each_decrypt [Vault];
    single other_keys_may_still_decrypt [Vault];
    single an_older_key_with_more_versions_is_still_found_under_v1 [Vault];
    single a_key_that_fails_transiently_leaves_the_others_their_time [Vault];
    single a_decrypt_by_another_key_does_not_keep_status_ok [Vault];
    single another_name_mount_or_namespace_is_another_key_id_and_the_start_says_so [Vault];
    single a_return_to_an_earlier_key_is_reported_and_a_suffix_makes_a_new_key_id [Vault];
    single a_minimum_above_an_announced_version_is_reported_before_a_decrypt_fails [Vault];
    single what_a_key_left_behind_wrote_is_refused_with_the_remedy [Vault];
    single a_move_with_the_old_key_still_reading_is_no_error [Vault];
}
