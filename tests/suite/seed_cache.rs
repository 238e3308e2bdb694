//! The seed cache: a Decrypt of a seed that is known is answered while Vault is away, and never against its will.

mod cluster;
pub(crate) mod local_kek;
mod revocation;

use std::process::Command;
use std::time::{Duration, Instant};

use tonic::Code;

use super::harness::daemon::Daemon;
use super::harness::kms::KmsClient;
use super::harness::proxy::{Fault, Proxy};
use super::harness::vault::{Fixture, Vault};
use super::{LIMIT, daemon_for};

const ON: &str = "[outage]\nseed_cache = \"memory\"";
const SEED: [u8; 32] = [5; 32];

/// A daemon with the cache on, behind a proxy, that has encrypted a seed.
struct Bridge {
    vault: &'static Vault,
    fixture: Fixture,
    proxy: Proxy,
    daemon: Daemon,
    client: KmsClient,
    ciphertext: Vec<u8>,
    key_id: String,
}

impl Bridge {
    async fn start() -> Self {
        Self::start_with(ON).await
    }

    async fn start_with(outage: &str) -> Self {
        let vault = Vault::shared().await;
        let fixture = vault.fixture().await;
        let proxy = Proxy::start(vault.socket_address());
        let builder = daemon_for(&proxy.address(), &fixture).extra(outage);
        let daemon = builder.spawn().await;
        let client = KmsClient::connect(daemon.socket());
        client.wait_ok(LIMIT).await;
        let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
        Self {
            vault,
            fixture,
            proxy,
            daemon,
            client,
            ciphertext,
            key_id,
        }
    }

    async fn decrypt(&self) -> Result<Vec<u8>, tonic::Status> {
        self.client.decrypt(&self.ciphertext, &self.key_id).await
    }

    async fn is_served(&self) {
        let seed = self.decrypt().await.unwrap();
        assert_eq!(seed, SEED);
    }

    async fn is_not_served(&self) {
        let error = self.decrypt().await.unwrap_err();
        assert_ne!(error.code(), Code::Ok, "{error}");
    }

    async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.daemon.admin("/metrics").await;
        let name = format!("vault_kms_plugin_{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .parse()
            .unwrap()
    }
}

async fn a_known_seed_is_answered_however_vault_is_away() {
    let bridge = Bridge::start().await;
    let page = "<html>no backend</html>".to_owned();
    for fault in [
        Fault::Refuse,
        Fault::error(503, "Vault is sealed"),
        Fault::error(
            500,
            "local node not active but active cluster node not found",
        ),
        Fault::Answer {
            status: 502,
            body: page,
            content_type: "text/html".to_owned(),
        },
        Fault::Hang,
        Fault::Cut,
    ] {
        bridge.proxy.clear();
        bridge.is_served().await;
        bridge.proxy.fault("", fault.clone());
        let began = Instant::now();
        bridge.is_served().await;
        assert!(
            began.elapsed() < Duration::from_millis(1_500),
            "{fault:?}: {:?}",
            began.elapsed()
        );
        // Once it is known that Vault is away, the twenty seeds of a list take no minute.
        let began = Instant::now();
        for _ in 0..10 {
            bridge.is_served().await;
        }
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "{fault:?}: {:?}",
            began.elapsed()
        );
    }
    bridge.proxy.clear();
    bridge.is_served().await;
    assert_eq!(bridge.metric("seed_cache_serving").await, 0.0);
    assert!(bridge.metric("seed_cache_hits_total").await >= 66.0);
    bridge
        .daemon
        .logged("answering Decrypts from the seed cache")
        .await;
    bridge
        .daemon
        .logged("the seed cache is not used any more")
        .await;
}

async fn vault_is_asked_first_each_time() {
    let bridge = Bridge::start().await;
    bridge.proxy.fault("", Fault::error(503, "Vault is sealed"));
    bridge.is_served().await;
    bridge.proxy.reset_counts();
    for _ in 0..3 {
        bridge.is_served().await;
    }
    let path = format!("/v1/{}/decrypt", bridge.fixture.mount);
    assert!(
        bridge.proxy.count(&path) >= 3,
        "{:?}",
        bridge.proxy.requests()
    );
}

async fn a_stopped_a_sealed_and_a_restarted_vault_are_bridged() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture)
        .extra(ON)
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    vault.seal().await;
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
    vault.kill();
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
    // What a new connection asks first.
    let client = KmsClient::connect(daemon.socket());
    client.status().await.unwrap();
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
    let (_, text) = daemon.admin("/status").await;
    assert!(
        text.contains("1 seeds, ANSWERS while vault fails"),
        "{text}"
    );
    let (_, text) = daemon.admin("/readyz?verbose").await;
    assert!(
        text.contains("[+]seed-cache ok: 1 seeds, answering"),
        "{text}"
    );
    vault.restart().await;
    client.wait_ok(LIMIT).await;
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
    let (_, text) = daemon.admin("/readyz?verbose").await;
    assert!(text.contains("[+]seed-cache ok: 1 seeds\n"), "{text}");
}

async fn kms_v1_is_bridged_too() {
    let bridge = Bridge::start().await;
    let ciphertext = bridge.client.encrypt_v1(&SEED).await.unwrap();
    bridge.proxy.fault("", Fault::Refuse);
    let seed = bridge.client.decrypt_v1(&ciphertext).await.unwrap();
    assert_eq!(seed, SEED);
}

async fn what_was_only_decrypted_is_known_too() {
    let bridge = Bridge::start().await;
    let (mount, key) = (&bridge.fixture.mount, &bridge.fixture.key);
    let ciphertext = bridge
        .vault
        .encrypt(mount, key, &[6; 32])
        .await
        .into_bytes();
    let decrypt = async || bridge.client.decrypt(&ciphertext, &bridge.key_id).await;
    decrypt().await.unwrap();
    bridge.proxy.fault("", Fault::Refuse);
    assert_eq!(decrypt().await.unwrap(), [6; 32]);
}

async fn nothing_is_answered_unless_it_is_switched_on() {
    let bridge = Bridge::start_with("").await;
    bridge.is_served().await;
    bridge.proxy.fault("", Fault::Refuse);
    bridge.is_not_served().await;
    assert_eq!(bridge.metric("seed_cache_on").await, 0.0);
    assert_eq!(bridge.metric("seed_cache_entries").await, 0.0);
}

async fn a_seed_that_is_not_known_fails_as_without_a_cache() {
    let bridge = Bridge::start().await;
    let (mount, key) = (&bridge.fixture.mount, &bridge.fixture.key);
    let other = bridge.vault.encrypt(mount, key, &SEED).await.into_bytes();
    bridge.proxy.fault("", Fault::Refuse);
    let error = bridge.client.decrypt(&other, &bridge.key_id).await;
    assert_eq!(error.unwrap_err().code(), Code::Unavailable);
    bridge.is_served().await;
}

/// Root may lock any amount, whatever the limit says: so it is another user without capabilities.
async fn a_process_that_may_lock_no_memory_does_not_start_with_it() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = daemon_for(&vault.address(), &fixture).extra(ON);
    let config = builder.write_file("without-memory.toml", &builder.config_text());
    let program = env!("CARGO_BIN_EXE_vault-kms-plugin");
    let line = format!(
        "ulimit -l 0 && exec setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock {program} serve --config {}",
        config.display()
    );
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(69), "{log}");
    assert!(log.contains("outage.seed_cache"), "{log}");
    assert!(log.contains("RLIMIT_MEMLOCK"), "{log}");
}

tests! {
    [cluster, local_kek, revocation]
    single a_known_seed_is_answered_however_vault_is_away [Vault];
    single vault_is_asked_first_each_time [Vault];
    single a_stopped_a_sealed_and_a_restarted_vault_are_bridged [Vault];
    single kms_v1_is_bridged_too [Vault];
    single what_was_only_decrypted_is_known_too [Vault];
    single nothing_is_answered_unless_it_is_switched_on [Vault];
    single a_process_that_may_lock_no_memory_does_not_start_with_it [Vault];
    single a_seed_that_is_not_known_fails_as_without_a_cache [Vault];
}
