//! The local KEK: an Encrypt while Vault is away, and what becomes of what it made.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tonic::Code;

use super::Bridge;
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::vault::Vault;
use crate::harness::wait;
use crate::{LIMIT, daemon_for};

pub(crate) const ON: &str = "[outage]\nseed_cache = \"memory\"\nlocal_kek = true";
pub(crate) const ANNOTATION: &str = "local-kek.vault-kms-plugin";
const SEED: [u8; 32] = [9; 32];
/// What Transit binds a wrapped KEK to, in base64.
pub(crate) const DATA: &str = "dmF1bHQta21zLXBsdWdpbiBsb2NhbCBLRUsgdjE=";
/// The refresh reads the key every 30 s, and a KEK is wrapped after it.
const NEXT_REFRESH: Duration = Duration::from_secs(45);

/// What kube-apiserver stores of a seed.
#[derive(Debug, Clone, PartialEq)]
struct Stored {
    ciphertext: Vec<u8>,
    key_id: String,
    annotations: HashMap<String, Vec<u8>>,
}

async fn encrypt(client: &KmsClient) -> Result<Stored, tonic::Status> {
    let answer = client.encrypt_whole(&SEED).await?;
    Ok(Stored {
        ciphertext: answer.ciphertext,
        key_id: answer.key_id,
        annotations: answer.annotations,
    })
}

async fn decrypt(client: &KmsClient, stored: &Stored) -> Result<Vec<u8>, tonic::Status> {
    let Stored {
        ciphertext,
        key_id,
        annotations,
    } = stored;
    let annotations = annotations.clone();
    client.decrypt_whole(ciphertext, key_id, annotations).await
}

/// Once a KEK was wrapped.
pub(crate) async fn ready(daemon: &Daemon) {
    wait::until("a local KEK", NEXT_REFRESH, async || {
        let (_, text) = daemon.admin("/metrics").await;
        text.contains("vault_kms_plugin_local_kek_ready 1\n")
            .then_some(())
    })
    .await;
}

async fn bridge() -> Bridge {
    let bridge = Bridge::start_with(ON).await;
    ready(&bridge.daemon).await;
    bridge
}

async fn sealed_locally(bridge: &Bridge) -> Stored {
    bridge.proxy.fault("", Fault::Refuse);
    let stored = encrypt(&bridge.client).await.unwrap();
    assert_eq!(stored.annotations.len(), 1, "{stored:?}");
    assert!(stored.annotations.contains_key(ANNOTATION), "{stored:?}");
    stored
}

async fn an_encrypt_is_answered_however_vault_is_away() {
    let bridge = bridge().await;
    for fault in [
        Fault::Refuse,
        Fault::error(503, "Vault is sealed"),
        Fault::Hang,
        Fault::Cut,
    ] {
        bridge.proxy.clear();
        ready(&bridge.daemon).await;
        let status = bridge.client.status().await.unwrap();
        bridge.proxy.fault("", fault.clone());
        let began = Instant::now();
        let stored = encrypt(&bridge.client).await.unwrap();
        // kube-apiserver's own limit is three seconds.
        assert!(began.elapsed() < Duration::from_millis(2_500), "{fault:?}");
        assert_eq!(stored.key_id, status.key_id, "{fault:?}");
        assert!(stored.annotations.contains_key(ANNOTATION), "{fault:?}");
        assert_eq!(decrypt(&bridge.client, &stored).await.unwrap(), SEED);
        bridge.proxy.clear();
        assert_eq!(decrypt(&bridge.client, &stored).await.unwrap(), SEED);
    }
    assert!(bridge.metric("local_kek_encrypts_total").await >= 4.0);
    bridge
        .daemon
        .logged("a seed was sealed under the local KEK")
        .await;
}

async fn while_vault_answers_nothing_is_sealed_locally() {
    let bridge = bridge().await;
    let stored = encrypt(&bridge.client).await.unwrap();
    assert!(stored.annotations.is_empty(), "{stored:?}");
    // Nor where it fails for a moment, as while a leader is elected.
    let path = format!("/v1/{}/encrypt", bridge.fixture.mount);
    bridge
        .proxy
        .fault_times(&path, Fault::error(503, "no leader"), 2);
    let stored = encrypt(&bridge.client).await.unwrap();
    assert!(stored.annotations.is_empty(), "{stored:?}");
    assert_eq!(bridge.metric("local_kek_encrypts_total").await, 0.0);
}

async fn without_it_an_encrypt_fails_while_vault_is_away() {
    let bridge = Bridge::start().await;
    bridge.proxy.fault("", Fault::Refuse);
    let error = encrypt(&bridge.client).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(bridge.metric("local_kek_ready").await, 0.0);
}

async fn what_was_sealed_is_read_by_every_node_once_vault_is_back() {
    let bridge = bridge().await;
    let stored = sealed_locally(&bridge).await;
    bridge.proxy.clear();
    // A node that has it off, and this one after a restart.
    let builder = daemon_for(&bridge.vault.address(), &bridge.fixture);
    let other = builder.spawn().await;
    let client = KmsClient::connect(other.socket());
    client.wait_ok(LIMIT).await;
    assert_eq!(decrypt(&client, &stored).await.unwrap(), SEED);
    bridge.daemon.restart().await;
    let client = KmsClient::connect(bridge.daemon.socket());
    client.wait_ok(LIMIT).await;
    assert_eq!(decrypt(&client, &stored).await.unwrap(), SEED);
}

/// A plugin that does not know the annotation sends the ciphertext alone.
async fn vault_unwraps_a_kek_for_nobody_who_does_not_know_what_it_is() {
    let bridge = bridge().await;
    let stored = sealed_locally(&bridge).await;
    let ciphertext = String::from_utf8(stored.ciphertext.clone()).unwrap();
    let (mount, key) = (&bridge.fixture.mount, &bridge.fixture.key);
    let alone = bridge.vault.decrypt(mount, key, &ciphertext).await;
    assert!(alone.unwrap_err().contains("authentication failed"));
    let path = format!("{mount}/decrypt/{key}");
    let body = json!({ "ciphertext": ciphertext, "associated_data": DATA });
    bridge.vault.expect("POST", &path, Some(body)).await;
    bridge.proxy.clear();
    let without = Stored {
        annotations: HashMap::new(),
        ..stored
    };
    let error = decrypt(&bridge.client, &without).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
}

async fn a_damaged_annotation_is_refused_and_named() {
    let bridge = bridge().await;
    let mut stored = sealed_locally(&bridge).await;
    bridge.proxy.clear();
    for damaged in [Vec::new(), vec![1; 12], vec![1; 61]] {
        stored.annotations.insert(ANNOTATION.to_owned(), damaged);
        let error = decrypt(&bridge.client, &stored).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().contains(ANNOTATION), "{error}");
    }
}

async fn after_a_rotation_the_kek_is_of_the_announced_version() {
    let bridge = bridge().await;
    let (mount, key) = (&bridge.fixture.mount, &bridge.fixture.key);
    bridge.vault.rotate(mount, key).await;
    bridge.follows_rotation().await;
    ready(&bridge.daemon).await;
    let status = bridge.client.status().await.unwrap();
    let stored = sealed_locally(&bridge).await;
    assert_eq!(stored.key_id, status.key_id);
    assert!(stored.ciphertext.starts_with(b"vault:v2:"), "{stored:?}");
}

async fn each_outage_has_a_kek_of_its_own() {
    let bridge = bridge().await;
    let one = sealed_locally(&bridge).await;
    let two = encrypt(&bridge.client).await.unwrap();
    assert_eq!(one.ciphertext, two.ciphertext);
    assert_ne!(one.annotations, two.annotations);
    bridge.proxy.clear();
    let other = wait::until("a new KEK", NEXT_REFRESH * 2, async || {
        bridge.proxy.clear();
        tokio::time::sleep(Duration::from_secs(2)).await;
        bridge.proxy.fault("", Fault::Refuse);
        let other = encrypt(&bridge.client).await.unwrap();
        (other.ciphertext != one.ciphertext).then_some(other)
    })
    .await;
    bridge.proxy.clear();
    for stored in [one, two, other] {
        assert_eq!(decrypt(&bridge.client, &stored).await.unwrap(), SEED);
    }
}

async fn a_refusal_ends_it_before_its_verdict() {
    let bridge = bridge().await;
    let nothing = "path \"nothing\" { capabilities = [\"read\"] }";
    let policy = &bridge.fixture.policy;
    bridge.vault.write_policy(policy, nothing).await;
    let error = encrypt(&bridge.client).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    bridge.proxy.fault("", Fault::Refuse);
    encrypt(&bridge.client).await.unwrap_err();
    assert_eq!(bridge.metric("local_kek_encrypts_total").await, 0.0);
}

async fn it_ends_with_max_age() {
    let bridge = Bridge::start_with(&format!("{ON}\nmax_age = \"4s\"")).await;
    ready(&bridge.daemon).await;
    sealed_locally(&bridge).await;
    wait::until("max_age to pass", Duration::from_secs(15), async || {
        encrypt(&bridge.client).await.err()
    })
    .await;
}

async fn a_reload_switches_it_off_and_what_was_sealed_stays_readable() {
    let bridge = bridge().await;
    let stored = sealed_locally(&bridge).await;
    bridge.proxy.clear();
    bridge.daemon.change_config("[outage]\nlocal_kek = false");
    bridge.daemon.signal(Signal::HUP);
    wait::until("the reload", LIMIT, async || {
        (bridge.metric("local_kek_ready").await == 0.0).then_some(())
    })
    .await;
    assert_eq!(decrypt(&bridge.client, &stored).await.unwrap(), SEED);
    bridge.proxy.fault("", Fault::Refuse);
    encrypt(&bridge.client).await.unwrap_err();
    assert_eq!(decrypt(&bridge.client, &stored).await.unwrap(), SEED);
}

/// Every type that the plugin takes and that binds associated data; the others say so.
async fn each_type_of_key_has_one_or_says_why_not() {
    let vault = Vault::shared().await;
    for (kind, has) in [
        ("aes128-gcm96", true),
        ("aes256-gcm96", true),
        ("chacha20-poly1305", true),
        ("rsa-2048", false),
    ] {
        let mut fixture = vault.fixture().await;
        let parameters = json!({ "type": kind });
        vault
            .create_key_with(&fixture.mount, kind, parameters)
            .await;
        let policy = crate::harness::vault::plugin_policy(&fixture.mount, kind);
        vault.write_policy(&fixture.policy, &policy).await;
        fixture.key = kind.to_owned();
        let proxy = Proxy::start(vault.socket_address());
        let builder = daemon_for(&proxy.address(), &fixture).extra(ON);
        let daemon = builder.spawn().await;
        let client = KmsClient::connect(daemon.socket());
        client.wait_ok(LIMIT).await;
        if !has {
            daemon.logged("no local KEK can be wrapped").await;
            continue;
        }
        ready(&daemon).await;
        proxy.fault("", Fault::Refuse);
        let stored = encrypt(&client).await.unwrap();
        assert_eq!(decrypt(&client, &stored).await.unwrap(), SEED, "{kind}");
        proxy.clear();
        assert_eq!(decrypt(&client, &stored).await.unwrap(), SEED, "{kind}");
    }
}

/// Its answers have no place for an annotation.
async fn kms_v1_is_not_sealed_locally() {
    let bridge = bridge().await;
    bridge.proxy.fault("", Fault::Refuse);
    let error = bridge.client.encrypt_v1(&SEED).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
}

impl Bridge {
    /// Status returns the second version.
    async fn follows_rotation(&self) {
        wait::until("the rotation", NEXT_REFRESH, async || {
            let status = self.client.status().await.ok()?;
            status.key_id.contains(":v2:").then_some(())
        })
        .await;
    }
}

tests! {
    single an_encrypt_is_answered_however_vault_is_away [Vault];
    single while_vault_answers_nothing_is_sealed_locally [Vault];
    single without_it_an_encrypt_fails_while_vault_is_away [Vault];
    single what_was_sealed_is_read_by_every_node_once_vault_is_back [Vault];
    single vault_unwraps_a_kek_for_nobody_who_does_not_know_what_it_is [Vault];
    single a_damaged_annotation_is_refused_and_named [Vault];
    single after_a_rotation_the_kek_is_of_the_announced_version [Vault];
    single each_outage_has_a_kek_of_its_own [Vault];
    single a_refusal_ends_it_before_its_verdict [Vault];
    single it_ends_with_max_age [Vault];
    single a_reload_switches_it_off_and_what_was_sealed_stays_readable [Vault];
    single each_type_of_key_has_one_or_says_why_not [Vault];
    single kms_v1_is_not_sealed_locally [Vault];
}
