//! Rotations under load: no key_id ever means two versions, and Encrypt follows Status.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::{SEED, version_in, version_of};
use crate::harness::kms::KmsClient;
use crate::harness::vault::{Fixture, Vault};
use crate::harness::wait;
use crate::{LIMIT, ready_daemon, ready_daemon_behind_proxy};

const CALLERS: u64 = 8;
const ROTATIONS: u32 = 50;

/// What all callers saw.
#[derive(Default)]
struct Seen {
    announced: Mutex<HashSet<String>>,
    /// By key_id, the Transit versions of its ciphertexts.
    written: Mutex<HashMap<String, HashSet<u32>>>,
    violations: Mutex<Vec<String>>,
    calls: AtomicU64,
    stop: AtomicBool,
}

/// What kube-apiserver does at a new key_id: Status, Encrypt, and somewhere a Decrypt.
async fn one_round(client: &KmsClient, seen: &Seen) -> Result<(), String> {
    let text = |error: tonic::Status| error.to_string();
    let status = client.status().await.map_err(text)?;
    seen.announced.lock().unwrap().insert(status.key_id.clone());
    let (ciphertext, key_id) = client.encrypt(&SEED).await.map_err(text)?;
    let version = version_in(&ciphertext);
    let plaintext = client.decrypt(&ciphertext, &key_id).await.map_err(text)?;
    seen.calls.fetch_add(3, Ordering::Relaxed);
    let mut written = seen.written.lock().unwrap();
    written.entry(key_id.clone()).or_default().insert(version);
    // Each caller has a connection of its own, and so the key_id of its own last Status.
    let right = status.healthz == "ok"
        && plaintext == SEED
        && version == version_of(&key_id)
        && key_id == status.key_id;
    right
        .then_some(())
        .ok_or_else(|| format!("{version} under {key_id} after {status:?}"))
}

async fn call_steadily(client: KmsClient, seen: Arc<Seen>) {
    while !seen.stop.load(Ordering::Relaxed) {
        if let Err(violation) = one_round(&client, &seen).await {
            seen.violations.lock().unwrap().push(violation);
        }
    }
}

/// Until each caller has gone round once more.
async fn progress(seen: &Seen) {
    let before = seen.calls.load(Ordering::Relaxed);
    wait::until_true("calls to go on", LIMIT, async || {
        seen.calls.load(Ordering::Relaxed) >= before + 3 * CALLERS
    })
    .await;
}

/// Until this version is announced; a KMS v1 Encrypt makes the daemon look.
async fn announced(client: &KmsClient, seen: &Seen, version: u32) {
    let marker = format!(":v{version}:");
    wait::until_true("the version to be announced", LIMIT, async || {
        client.encrypt_v1(&SEED).await.unwrap();
        let announced = seen.announced.lock().unwrap();
        announced.iter().any(|key_id| key_id.contains(&marker))
    })
    .await;
}

/// Rotates under load; every `each`th version is waited for.
async fn rotate_under_load(
    fixture: &Fixture,
    client: &KmsClient,
    sockets: &[KmsClient],
    each: u32,
) {
    let vault = Vault::shared().await;
    let seen = Arc::new(Seen::default());
    let start = |client: &KmsClient| tokio::spawn(call_steadily(client.clone(), seen.clone()));
    let callers: Vec<_> = sockets.iter().map(start).collect();
    for version in 2..=ROTATIONS + 1 {
        vault.rotate(&fixture.mount, &fixture.key).await;
        progress(&seen).await;
        if (version - 1) % each == 0 {
            announced(client, &seen, version).await;
        }
    }
    progress(&seen).await;
    seen.stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    report(&seen, each);
}

fn report(seen: &Seen, each: u32) {
    let (announced, written) = (seen.announced.lock().unwrap(), seen.written.lock().unwrap());
    let violations = seen.violations.lock().unwrap();
    eprintln!(
        "{ROTATIONS} rotations: {} calls, {} key_ids announced, {} written with, {} violations",
        seen.calls.load(Ordering::Relaxed),
        announced.len(),
        written.len(),
        violations.len()
    );
    assert!(violations.is_empty(), "{violations:#?}");
    assert!(announced.len() > (ROTATIONS / each) as usize);
    for (key_id, versions) in written.iter() {
        assert_eq!(versions, &HashSet::from([version_of(key_id)]), "{key_id}");
        assert!(announced.contains(key_id), "{key_id} was never announced");
    }
}

async fn kms_v1_pays_one_request_for_a_proven_version_that_no_status_announced() {
    let (fixture, proxy, daemon, client) = ready_daemon_behind_proxy().await;
    let vault = Vault::shared().await;
    vault.rotate(&fixture.mount, &fixture.key).await;
    // The first one has to show that it can be read again.
    client.encrypt_v1(&SEED).await.unwrap();
    wait::until_true("version 2 to be proven", LIMIT, async || {
        daemon.log().matches("key version verified").count() == 2
    })
    .await;
    proxy.reset_counts();
    let by_v1 = client.encrypt_v1(&SEED).await.unwrap();
    assert!(by_v1.starts_with(b"vault:v2:"), "{by_v1:?}");
    assert_eq!(proxy.requests().len(), 1, "{:?}", proxy.requests());
}

async fn fifty_rotations_under_load_mix_no_versions() {
    let (fixture, daemon, client) = ready_daemon().await;
    let sockets: Vec<_> = (0..CALLERS)
        .map(|_| KmsClient::connect(daemon.socket()))
        .collect();
    rotate_under_load(&fixture, &client, &sockets, 10).await;
}

async fn soak_fifty_rotations_are_each_announced_under_load() {
    let (fixture, daemon, client) = ready_daemon().await;
    let sockets: Vec<_> = (0..CALLERS)
        .map(|_| KmsClient::connect(daemon.socket()))
        .collect();
    rotate_under_load(&fixture, &client, &sockets, 1).await;
}

/// What Status returned on one connection is nothing that another client has seen.
async fn an_encrypt_follows_the_status_of_its_own_connection() {
    let (fixture, daemon, client) = ready_daemon().await;
    let other = KmsClient::connect(daemon.socket());
    let before = client.status().await.unwrap().key_id;
    Vault::shared()
        .await
        .rotate(&fixture.mount, &fixture.key)
        .await;
    let after = super::next_key_id(&other, &before).await;
    // Within the second after which an idle connection is closed.
    assert_eq!(other.status().await.unwrap().key_id, after);
    let (_, by_other) = other.encrypt(b"sees version 2").await.unwrap();
    let (old, by_client) = client.encrypt(b"has seen version 1").await.unwrap();
    assert_eq!((&by_other, &by_client), (&after, &before));
    assert!(old.starts_with(b"vault:v1:"), "{old:?}");
    assert_eq!(client.status().await.unwrap().key_id, after);
    let (_, by_client) = client.encrypt(b"has seen version 2").await.unwrap();
    assert_eq!(by_client, after);
}

tests! {
    single an_encrypt_follows_the_status_of_its_own_connection [Vault];
    single kms_v1_pays_one_request_for_a_proven_version_that_no_status_announced [Vault];
    multi fifty_rotations_under_load_mix_no_versions [Vault];
    multi soak_fifty_rotations_are_each_announced_under_load soak "soak: 60 s, each of fifty versions is announced";
}
