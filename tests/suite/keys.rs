//! key_ids through everything a key can go through. Here: what a key_id is, when a version is
//! announced, a restart; the rest by subject below.

mod grants;
mod kinds;
mod life;
mod limits;
mod moves;
mod rotation;
mod two_servers;

use tonic::Code;
use vault_kms_plugin::grpc::proto::v2;

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

/// Until Status fails closed; an Encrypt that Vault refuses makes the daemon look at once.
async fn closed(client: &KmsClient, code: Code) -> tonic::Status {
    wait::until("Status to fail closed", LIMIT, async || {
        let _ = client.encrypt(&SEED).await;
        client
            .status()
            .await
            .err()
            .filter(|error| error.code() == code)
    })
    .await
}

/// `3` of `transit1::transit:kms:v3:1714000000`.
pub(super) fn version_of(key_id: &str) -> u32 {
    let version = key_id.rsplit(':').nth(1).unwrap();
    version.strip_prefix('v').unwrap().parse().unwrap()
}

/// `3` of `vault:v3:…`.
pub(super) fn version_in(ciphertext: &[u8]) -> u32 {
    let text = std::str::from_utf8(ciphertext).unwrap();
    let version = text.split(':').nth(1).unwrap();
    version.strip_prefix('v').unwrap().parse().unwrap()
}

/// That a seed can be wrapped and unwrapped, under v2 and v1; the key_id.
async fn works(client: &KmsClient) -> String {
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
    assert_eq!(client.decrypt_v1(&ciphertext).await.unwrap(), SEED);
    key_id
}

/// Until the state file says that this key_id was announced last; its text.
pub(super) async fn state_names(daemon: &Daemon, key_id: &str) -> String {
    wait::until(
        "the announced key_id in the state file",
        LIMIT,
        async || {
            let text = state_contains(daemon, key_id).await;
            let state: serde_json::Value = serde_json::from_str(&text).ok()?;
            let last = state["announced"].as_array()?.last()?.as_str()?.to_owned();
            (last == key_id).then_some(text)
        },
    )
    .await
}

/// Until the state file names this key_id, announced or not; its text.
pub(super) async fn state_contains(daemon: &Daemon, key_id: &str) -> String {
    let path = daemon.state_path();
    wait::until("the state file", LIMIT, async || {
        std::fs::read_to_string(&path)
            .ok()
            .filter(|text| text.contains(key_id))
    })
    .await
}

async fn the_key_id_is_made_of_names_version_and_creation_time() {
    let (fixture, _daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    let key = vault.read_key(&fixture.mount, &fixture.key).await;
    let created = &key["keys"]["1"];
    let expected = format!("transit1::{}:{}:v1:{created}", fixture.mount, fixture.key);
    assert_eq!(client.status().await.unwrap().key_id, expected);
}

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

async fn a_new_version_that_does_not_work_leaves_the_old_one_writing() {
    let (fixture, proxy, daemon, client) = ready_daemon_behind_proxy().await;
    let before = client.status().await.unwrap().key_id;
    let vault = Vault::shared().await;
    vault.rotate(&fixture.mount, &fixture.key).await;
    // KMS v1 tries version 2 first, and so does the look that follows: both Decrypts are refused.
    proxy.fault_times(
        "/decrypt/",
        Fault::error(400, "message decryption not supported for key type"),
        2,
    );
    let by_v1 = client.encrypt_v1(b"makes it look").await.unwrap();
    assert!(by_v1.starts_with(b"vault:v1:"), "{by_v1:?}");
    daemon.logged("latest key version does not work").await;
    let status = client.status().await.unwrap();
    assert_eq!(
        (status.healthz.as_str(), status.key_id),
        ("ok", before.clone())
    );
    assert_eq!(client.encrypt(&SEED).await.unwrap().1, before);
    // It works again: a caller that is contradicted makes the daemon look before its time.
    client.decrypt(b"vault:v1:AAAA", &before).await.unwrap_err();
    assert_ne!(next_key_id(&client, &before).await, before);
}

/// A Vault that can be restarted, a daemon that has announced a key_id, that answer, and the text of
/// its state file.
async fn announced() -> (Vault, Fixture, Daemon, v2::StatusResponse, String) {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let status = KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    let stored = state_names(&daemon, &status.key_id).await;
    (vault, fixture, daemon, status, stored)
}

async fn a_process_restarted_during_an_outage_answers_status() {
    let (vault, fixture, daemon, before, stored) = announced().await;
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

/// A restored disk, a cloned machine: the file may be older than what kube-apiserver knows.
async fn a_state_file_of_another_boot_is_never_ok_until_vault_answers() {
    let (vault, _fixture, daemon, before, stored) = announced().await;
    daemon.kill();
    let mut state: serde_json::Value = serde_json::from_str(&stored).unwrap();
    state["boot"] = "00000000-0000-4000-8000-000000000000".into();
    std::fs::write(daemon.state_path(), state.to_string()).unwrap();
    // With Vault there, nobody hears of it.
    daemon.restart().await;
    let client = KmsClient::connect(daemon.socket());
    assert_eq!(client.status().await.unwrap(), before);
    daemon.kill();
    let old = state.to_string();
    std::fs::write(daemon.state_path(), &old).unwrap();

    vault.kill();
    daemon.restart().await;
    let client = KmsClient::connect(daemon.socket());
    let during = wait::until("an answer", LIMIT, async || client.status().await.ok()).await;
    let text = &during.healthz;
    assert!(text.contains("state file of an earlier boot"), "{text}");
    assert_eq!(during.key_id, before.key_id);
    // The probe says what Status says.
    let (ready, text) = daemon.admin("/readyz").await;
    assert_eq!(ready, 503, "{text}");
    assert!(text.contains("state file of an earlier boot"), "{text}");

    // The process wrote the file again, in this boot: the next one still does not believe it.
    wait::until_true("the state file", LIMIT, async || {
        std::fs::read_to_string(daemon.state_path()).is_ok_and(|now| now != old)
    })
    .await;
    daemon.kill();
    daemon.restart().await;
    let client = KmsClient::connect(daemon.socket());
    let again = wait::until("an answer", LIMIT, async || client.status().await.ok()).await;
    assert_eq!(again, during);
    vault.restart().await;
    client.wait_ok(LIMIT).await;
}

/// Any version decrypts: only the key itself says which one is the latest.
async fn a_decrypt_confirms_no_key_id_of_another_boot() {
    let (_fixture, proxy, daemon, client) = ready_daemon_behind_proxy().await;
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    let stored = state_names(&daemon, &key_id).await;
    daemon.kill();
    let mut state: serde_json::Value = serde_json::from_str(&stored).unwrap();
    state["boot"] = "".into();
    std::fs::write(daemon.state_path(), state.to_string()).unwrap();
    proxy.fault("/keys/", Fault::error(503, "not now"));
    daemon.restart().await;
    let client = KmsClient::connect(daemon.socket());
    wait::until_true("a Decrypt", LIMIT, async || {
        let decrypted = client.decrypt(&ciphertext, &key_id).await;
        decrypted.is_ok_and(|it| it == SEED)
    })
    .await;
    let status = wait::until("an answer", LIMIT, async || client.status().await.ok()).await;
    let text = &status.healthz;
    assert!(text.contains("state file of an earlier boot"), "{text}");
    proxy.clear();
    client.wait_ok(LIMIT).await;
}

tests! {
    [grants, kinds, life, limits, moves, rotation, two_servers]
    single the_key_id_is_made_of_names_version_and_creation_time [Vault];
    single a_rotation_is_announced_and_encrypt_follows_status_exactly [Vault];
    single a_version_is_not_announced_before_its_canary_came_back [Vault];
    single a_new_version_that_does_not_work_leaves_the_old_one_writing [Vault];
    single a_process_restarted_during_an_outage_answers_status [Vault];
    single a_state_file_of_another_boot_is_never_ok_until_vault_answers [Vault];
    single a_decrypt_confirms_no_key_id_of_another_boot [Vault];
}
