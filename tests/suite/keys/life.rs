//! A key's life under one name: gone, made again, restored, recreated within a second.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tonic::Code;

use super::{SEED, closed, next_key_id, state_names, works};
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::vault::Vault;
use crate::harness::vault::backups;
use crate::harness::wait;
use crate::{LIMIT, daemon_for, ready_daemon};

async fn a_key_recreated_under_its_name_is_written_to_only_once_it_is_accepted() {
    let (fixture, daemon, client) = ready_daemon().await;
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
    let error = replaced(&client).await;
    assert!(error.message().contains(&before), "{error}");
    daemon
        .logged("transit key was replaced, refusing to encrypt")
        .await;
    // Nothing is encrypted with the other key, by either protocol.
    for refused in [
        client.encrypt(&SEED).await.map(drop),
        client.encrypt_v1(&SEED).await.map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    }
    let after = accepted(&daemon, &client, &error).await;
    assert!(after.contains(":v1:") && after != before, "{after}");
    daemon.logged("replaced transit key accepted").await;
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    assert_eq!(key_id, after);
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
    let (_, metrics) = daemon.admin("/metrics").await;
    assert!(
        metrics.contains("vault_kms_plugin_replaced_key_accepted 1\n"),
        "{metrics}"
    );
}

/// Until Status says that the key was replaced.
pub(super) async fn replaced(client: &KmsClient) -> tonic::Status {
    wait::until("the verdict", LIMIT, async || {
        let error = client.status().await.err()?;
        let is_verdict = error.code() == Code::FailedPrecondition;
        (is_verdict && error.message().contains("transit.accept_replaced")).then_some(error)
    })
    .await
}

/// Follows the remedy of the error to the letter; the key_id that is announced then.
async fn accepted(daemon: &Daemon, client: &KmsClient, error: &tonic::Status) -> String {
    let text = error.message();
    let start = text.find("accept_replaced = \"").expect("the remedy");
    let setting = &text[start..];
    let end = setting.match_indices('"').nth(1).expect("a key_id").0;
    daemon.change_config(&format!("[transit]\n{}", &setting[..=end]));
    daemon.signal(Signal::HUP);
    let announced = wait::until("Status to be ok", LIMIT, async || {
        client.status().await.ok().map(|status| status.key_id)
    })
    .await;
    assert_eq!(
        format!("accept_replaced = \"{announced}\""),
        setting[..=end]
    );
    announced
}

/// A restart forgets nothing: the canary is in the state file.
async fn a_key_replaced_while_the_daemon_was_stopped_is_noticed() {
    let (fixture, daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    let (_, before) = client.encrypt(&SEED).await.unwrap();
    let state = state_names(&daemon, &before).await;
    assert!(state.contains("vault:v1:"), "{state}");
    assert_eq!(daemon.stop().await, 0);
    vault.delete_key(&fixture.mount, &fixture.key).await;
    vault.create_key(&fixture.mount, &fixture.key).await;
    daemon.restart().await;
    let client = KmsClient::connect(daemon.socket());
    // Not even before the verdict is anything encrypted with the other key.
    let refused = client.encrypt(&SEED).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let error = replaced(&client).await;
    let text = "no longer decrypts what it encrypted";
    assert!(error.message().contains(text), "{error}");
}

/// Versions count up whatever Vault's clock says.
async fn a_rotation_with_an_earlier_creation_time_is_announced() {
    let vault = Vault::shared().await;
    let (source, fixture) = (vault.fixture().await, vault.fixture().await);
    let backup = vault.backup(&source.mount, &source.key).await;
    let created = vault.read_key(&source.mount, &source.key).await["keys"]["1"].clone();
    let in_an_hour = created.as_i64().unwrap() + 3_600;
    let time = jiff::Timestamp::from_second(in_an_hour)
        .unwrap()
        .to_string();
    let ahead = backups::changed(
        &backup,
        |policy| policy["name"] = json!(fixture.key),
        |version| {
            version["creation_time"] = json!(in_an_hour);
            version["time"] = json!(time);
        },
    );
    vault.delete_key(&fixture.mount, &fixture.key).await;
    vault.restore(&fixture.mount, &fixture.key, &ahead).await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    let first = client.wait_ok(LIMIT).await.key_id;
    assert!(first.ends_with(&format!(":v1:{in_an_hour}")), "{first}");
    let (old, _) = client.encrypt(&SEED).await.unwrap();
    vault.rotate(&fixture.mount, &fixture.key).await;
    let second = next_key_id(&client, &first).await;
    assert!(second.contains(":v2:"), "{second}");
    assert_eq!(works(&client).await, second);
    assert_eq!(client.decrypt(&old, &first).await.unwrap(), SEED);
}

async fn status_fails_closed_while_the_key_is_gone() {
    let (fixture, daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    let (_, before) = client.encrypt(&SEED).await.unwrap();
    vault.delete_key(&fixture.mount, &fixture.key).await;
    let error = closed(&client, Code::FailedPrecondition).await;
    assert!(
        error.message().contains("there is no transit key"),
        "{error}"
    );
    assert!(client.encrypt(&SEED).await.is_err());
    vault.create_key(&fixture.mount, &fixture.key).await;
    let after = accepted(&daemon, &client, &replaced(&client).await).await;
    assert!(after.contains(":v1:") && after != before, "{after}");
    assert_eq!(works(&client).await, after);
}

async fn a_key_restored_from_its_backup_keeps_its_key_id() {
    let (fixture, _daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    let first = client.status().await.unwrap().key_id;
    vault.rotate(&fixture.mount, &fixture.key).await;
    let before = next_key_id(&client, &first).await;
    let (old, _) = client.encrypt(&SEED).await.unwrap();
    let backup = vault.backup(&fixture.mount, &fixture.key).await;
    vault.delete_key(&fixture.mount, &fixture.key).await;
    closed(&client, Code::FailedPrecondition).await;
    vault.restore(&fixture.mount, &fixture.key, &backup).await;
    wait::until("Status to be ok", LIMIT, async || {
        let _ = client.encrypt(&SEED).await;
        client.status().await.ok()
    })
    .await;
    assert_eq!(works(&client).await, before);
    assert_eq!(client.decrypt(&old, &before).await.unwrap(), SEED);
}

/// Another key under the same name, version and creation time: nothing but a ciphertext tells them
/// apart. A changed backup plays a very quick operator.
async fn a_key_recreated_within_its_second_is_noticed_by_its_canary() {
    let (fixture, daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    let (mount, key) = (&fixture.mount, &fixture.key);
    let (old, before) = client.encrypt(&SEED).await.unwrap();
    let created = vault.read_key(mount, key).await["keys"]["1"].clone();
    vault.create_key(mount, "other").await;
    let other = vault.backup(mount, "other").await;
    let twin = backups::changed(
        &other,
        |policy| policy["name"] = json!(key),
        |version| version["creation_time"] = created.clone(),
    );
    vault.delete_key(mount, key).await;
    vault.restore(mount, key, &twin).await;
    // A read of old data contradicts what is known; the proof that this asks for fails.
    let error = client.decrypt(&old, &before).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    let error = wait::until("the verdict", LIMIT, async || client.status().await.err()).await;
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    assert!(error.message().contains("rotate it"), "{error}");
    vault.rotate(mount, key).await;
    let error = wait::until("the next remedy", LIMIT, async || {
        let error = client.status().await.err()?;
        error
            .message()
            .contains("accept_replaced = \"")
            .then_some(error)
    })
    .await;
    let after = accepted(&daemon, &client, &error).await;
    assert!(after.contains(":v2:"), "{after}");
    assert_eq!(works(&client).await, after);
}

/// Until a refresh has brought the version that Vault has now.
async fn announced(client: &KmsClient, version: &str) -> String {
    let limit = Duration::from_secs(100);
    wait::until("the version to be announced", limit, async || {
        let status = client.status().await.unwrap();
        assert_eq!(status.healthz, "ok");
        status.key_id.contains(version).then_some(status.key_id)
    })
    .await
}

async fn soak_a_snapshot_that_lost_a_version_is_a_verdict_after_a_minute() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    let first = client.wait_ok(LIMIT).await.key_id;
    let (old, _) = client.encrypt(&SEED).await.unwrap();
    vault.snapshot().await;
    vault.rotate(&fixture.mount, &fixture.key).await;
    let second = wait::until("version 2", LIMIT, async || {
        let _ = client.encrypt_v1(&SEED).await;
        let status = client.status().await.ok()?;
        status.key_id.contains(":v2:").then_some(status.key_id)
    })
    .await;
    assert_eq!(works(&client).await, second);
    vault.restore_snapshot().await;
    let restored = std::time::Instant::now();
    // What the announced version is asked for cannot be had; reads and KMS v1 go on.
    // A Vault that has just started may be too slow for the first one.
    wait::until_true("the refusal", LIMIT, async || {
        let error = client.encrypt(&SEED).await.unwrap_err();
        error.code() == Code::Unavailable
    })
    .await;
    wait::until("reads to work", LIMIT, async || {
        client.decrypt(&old, &first).await.ok()
    })
    .await;
    client.encrypt_v1(&SEED).await.unwrap();
    let limit = Duration::from_secs(100);
    let error = wait::until("the verdict", limit, async || {
        let error = client.status().await.err()?;
        error
            .message()
            .contains("accept_replaced = \"")
            .then_some(error)
    })
    .await;
    eprintln!("the verdict came after {:?}", restored.elapsed());
    assert!(restored.elapsed() > Duration::from_secs(58));
    daemon.logged("restored from a snapshot").await;
    let warned = daemon.log_lines().into_iter().any(|line| {
        line["level"] == "WARN" && line.to_string().contains("restored from a snapshot")
    });
    assert!(warned, "{}", daemon.log());
    // What the snapshot holds is still read, and written with once that is accepted.
    assert_eq!(client.decrypt(&old, &first).await.unwrap(), SEED);
    assert_eq!(accepted(&daemon, &client, &error).await, first);
    assert_eq!(works(&client).await, first);
}

/// Vault looks once an hour for keys that are due, first within a minute of mounting: a key whose
/// backup says that it is two hours old is due at once.
async fn soak_a_key_that_vault_rotates_by_itself_is_announced_like_any_other() {
    let vault = Vault::shared().await;
    let (source, fixture) = (vault.fixture().await, vault.fixture().await);
    let backup = vault.backup(&source.mount, &source.key).await;
    let created = vault.read_key(&source.mount, &source.key).await["keys"]["1"].clone();
    let two_hours_ago = created.as_i64().unwrap() - 7_200;
    let time = jiff::Timestamp::from_second(two_hours_ago)
        .unwrap()
        .to_string();
    let aged = backups::changed(
        &backup,
        |policy| policy["auto_rotate_period"] = json!(3_600_000_000_000_u64),
        |version| {
            version["creation_time"] = json!(two_hours_ago);
            version["time"] = json!(time);
        },
    );
    vault.delete_key(&fixture.mount, &fixture.key).await;
    vault.restore(&fixture.mount, &fixture.key, &aged).await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    let before = client.wait_ok(LIMIT).await.key_id;
    assert!(
        before.ends_with(&format!(":v1:{two_hours_ago}")),
        "{before}"
    );
    let (old, _) = client.encrypt(&SEED).await.unwrap();
    let after = announced(&client, ":v2:").await;
    assert_eq!(works(&client).await, after);
    assert_eq!(client.decrypt(&old, &before).await.unwrap(), SEED);
}

tests! {
    single a_key_recreated_under_its_name_is_written_to_only_once_it_is_accepted [Vault];
    single a_key_replaced_while_the_daemon_was_stopped_is_noticed [Vault];
    single a_rotation_with_an_earlier_creation_time_is_announced [Vault];
    single status_fails_closed_while_the_key_is_gone [Vault];
    single a_key_restored_from_its_backup_keeps_its_key_id [Vault];
    single a_key_recreated_within_its_second_is_noticed_by_its_canary [Vault];
    single soak_a_snapshot_that_lost_a_version_is_a_verdict_after_a_minute soak "soak: 70 s, an older version is believed after a minute";
    single soak_a_key_that_vault_rotates_by_itself_is_announced_like_any_other soak "soak: up to 100 s, Vault rotates by itself within a minute of mounting";
}
