//! key_ids through everything a key can go through: rotation, a key made anew, other keys, an
//! outage, a restart.

use tonic::Code;

use super::harness::daemon::Daemon;
use super::harness::kms::KmsClient;
use super::harness::proxy::{Fault, Proxy};
use super::harness::vault::{Fixture, Vault};
use super::harness::wait;
use super::{LIMIT, daemon_for, ready_daemon, ready_daemon_behind_proxy};

const SEED: [u8; 32] = [42; 32];

/// Until Status announces another key_id. A KMS v1 Encrypt makes the daemon look at once.
async fn next_key_id(client: &KmsClient, before: &str) -> String {
    wait::until("a new key_id", LIMIT, async || {
        let _ = client.encrypt_v1(b"ping").await;
        let now = client.status().await.ok()?.key_id;
        (now != before).then_some(now)
    })
    .await
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn the_key_id_is_made_of_names_version_and_creation_time() {
    let (fixture, _daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    let key = vault.read_key(&fixture.mount, &fixture.key).await;
    let created = &key["keys"]["1"];
    let expected = format!("transit1::{}:{}:v1:{created}", fixture.mount, fixture.key);
    assert_eq!(client.status().await.unwrap().key_id, expected);
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_rotation_is_announced_and_encrypt_follows_status_exactly() {
    let (fixture, _daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    let (old, mut announced) = client.encrypt(&SEED).await.unwrap();
    let first = announced.clone();
    for version in 2..=4 {
        vault.rotate(&fixture.mount, &fixture.key).await;
        // Until a Status says otherwise, Encrypt stays with what the last one said.
        let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
        assert_eq!(key_id, announced);
        assert!(ciphertext.starts_with(format!("vault:v{}:", version - 1).as_bytes()));
        announced = next_key_id(&client, &announced).await;
        assert!(announced.contains(&format!(":v{version}:")), "{announced}");
        let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
        assert_eq!(key_id, announced);
        assert!(ciphertext.starts_with(format!("vault:v{version}:").as_bytes()));
    }
    assert_eq!(client.decrypt(&old, &first).await.unwrap(), SEED);
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_version_is_not_announced_before_its_canary_came_back() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let proxy = Proxy::start(vault.socket_address());
    // Encrypts, but nobody can decrypt: as with an imported public key.
    proxy.fault(
        "/decrypt/",
        Fault::error(
            500,
            "cannot decrypt ciphertext, key version does not have a private counterpart",
        ),
    );
    let daemon = daemon_for(&proxy.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    let error = wait::until("the verdict", LIMIT, async || {
        let error = client.status().await.err()?;
        (error.code() == Code::FailedPrecondition).then_some(error)
    })
    .await;
    assert!(error.message().contains("private counterpart"), "{error}");
    assert_eq!(
        client.encrypt(&SEED).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    proxy.clear();
    client.wait_ok(LIMIT).await;
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_new_version_that_does_not_work_leaves_the_old_one_writing() {
    let (fixture, proxy, daemon, client) = ready_daemon_behind_proxy().await;
    let before = client.status().await.unwrap().key_id;
    let vault = Vault::shared().await;
    vault.rotate(&fixture.mount, &fixture.key).await;
    // The look sees version 2; its canary's decrypt is the first to be refused.
    proxy.fault_times(
        "/decrypt/",
        Fault::error(400, "message decryption not supported for key type"),
        1,
    );
    client.encrypt_v1(b"makes it look").await.unwrap();
    daemon.logged("the latest key version does not work").await;
    let status = client.status().await.unwrap();
    assert_eq!(
        (status.healthz.as_str(), status.key_id),
        ("ok", before.clone())
    );
    assert_eq!(client.encrypt(&SEED).await.unwrap().1, before);
    assert_ne!(next_key_id(&client, &before).await, before);
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_key_made_anew_under_its_name_gets_a_new_key_id() {
    let (fixture, _daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    let (old, before) = client.encrypt(&SEED).await.unwrap();
    let created = vault.read_key(&fixture.mount, &fixture.key).await["keys"]["1"].clone();
    // Creation times have whole seconds: go on until they differ.
    wait::until("another second", LIMIT, async || {
        vault.delete_key(&fixture.mount, &fixture.key).await;
        vault.create_key(&fixture.mount, &fixture.key).await;
        let now = vault.read_key(&fixture.mount, &fixture.key).await["keys"]["1"].clone();
        (now != created).then_some(())
    })
    .await;
    // What kube-apiserver would do next tells the daemon that something changed.
    let error = client.decrypt(&old, &before).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    let after = next_key_id(&client, &before).await;
    assert!(after.contains(":v1:"), "{after}");
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    assert_eq!(key_id, after);
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_raised_minimum_fails_one_encrypt_and_then_the_new_version_writes() {
    let (fixture, _daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    let before = client.status().await.unwrap().key_id;
    vault.rotate(&fixture.mount, &fixture.key).await;
    let raised = serde_json::json!({ "min_encryption_version": 2 });
    vault
        .configure_key(&fixture.mount, &fixture.key, raised)
        .await;
    let error = client.encrypt(&SEED).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    let after = wait::until("the new version", LIMIT, async || {
        let now = client.status().await.ok()?.key_id;
        (now != before).then_some(now)
    })
    .await;
    assert_eq!(client.encrypt(&SEED).await.unwrap().1, after);
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
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

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
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

/// Two keys, and a daemon that writes with the new one and still reads the old one's.
async fn moved_from_old_to_new(vault: &Vault) -> (Fixture, Fixture, Daemon) {
    let (old, new) = (vault.fixture().await, vault.fixture().await);
    let policies = [old.policy.as_str(), new.policy.as_str()];
    let token = vault
        .create_token(serde_json::json!({ "policies": policies }))
        .await;
    let also = format!(
        "[[transit.decrypt_also]]\nmount = \"{}\"\nkey = \"{}\"",
        old.mount, old.key
    );
    let builder = daemon_for(&vault.address(), &new);
    let daemon = builder.token(&token).extra(&also).spawn().await;
    (old, new, daemon)
}

async fn wrapped_by(vault: &Vault, fixture: &Fixture) -> (Vec<u8>, String) {
    let daemon = daemon_for(&vault.address(), fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    client.encrypt(&SEED).await.unwrap()
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_process_restarted_during_an_outage_answers_status() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    let before = client.wait_ok(LIMIT).await;
    let state = state_file(&daemon);
    let stored = wait::until("the state file", LIMIT, async || {
        std::fs::read_to_string(&state)
            .ok()
            .filter(|text| text.contains(&before.key_id))
    })
    .await;
    assert!(!stored.contains(&fixture.token), "{stored}");
    vault.kill();
    daemon.kill();
    daemon.restart().await;
    let client = KmsClient::connect(daemon.socket());
    let during = client.status().await.unwrap();
    assert_eq!(
        (during.healthz.as_str(), &during.key_id),
        ("ok", &before.key_id)
    );
    let error = client.encrypt(&SEED).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    vault.restart().await;
    wait::until("calls to work", LIMIT, async || {
        client.encrypt(&SEED).await.ok()
    })
    .await;
    assert_eq!(client.status().await.unwrap().key_id, before.key_id);
}

fn state_file(daemon: &Daemon) -> std::path::PathBuf {
    daemon.socket().with_extension("state.json")
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
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
