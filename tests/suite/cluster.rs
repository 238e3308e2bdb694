//! The main job, end to end: a real kube-apiserver encrypts Secrets through the release binary and
//! a real Vault, and etcd holds nothing that can be read.

use std::time::Duration;

use super::harness::daemon::Daemon;
use super::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use super::harness::vault::Vault;
use super::harness::wait;
use super::{LIMIT, daemon_for};

const SECRETS: usize = 200;
const STORED: &str = "/registry/secrets/default/";

fn value(number: usize) -> String {
    format!("the plaintext of secret number {number}, which etcd must not hold")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    any(no_vault, no_kubernetes),
    ignore = "needs Vault, kube-apiserver and etcd: set VAULT_BIN, KUBE_APISERVER_BIN and ETCD_BIN, or install Go"
)]
async fn kube_apiserver_keeps_its_secrets_through_restart_and_rotation() {
    let vault = Vault::start().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture)
        .release()
        .spawn()
        .await;
    let etcd = Etcd::start().await;
    let encryption = EncryptionConfiguration::v2(daemon.socket());
    let kubernetes = KubeApiserver::start(&etcd, Some(&encryption), None).await;

    for number in 0..SECRETS {
        let (code, answer) = kubernetes
            .create_secret("default", &name(number), &value(number))
            .await;
        assert_eq!(code, 201, "{answer}");
    }
    let first = key_ids(&etcd).await;
    assert_eq!(first.len(), 1, "{first:?}");

    kubernetes.kill();
    kubernetes.restart().await;
    read_all(&kubernetes).await;

    vault.rotate(&fixture.mount, &fixture.key).await;
    // kube-apiserver asks for Status once a minute; the daemon looks at the key every 30 s.
    let mut number = SECRETS;
    wait::until(
        "a new key_id in etcd",
        Duration::from_secs(120),
        async || {
            number += 1;
            let (code, answer) = kubernetes
                .create_secret("default", &name(number), &value(number))
                .await;
            assert_eq!(code, 201, "{answer}");
            // Not the wait itself, only its pace: two new Secrets a second will do.
            tokio::time::sleep(Duration::from_millis(500)).await;
            (key_ids(&etcd).await.len() == 2).then_some(())
        },
    )
    .await;
    read_all(&kubernetes).await;
    kubernetes.kill();
    kubernetes.restart().await;
    read_all(&kubernetes).await;
}

fn name(number: usize) -> String {
    format!("secret-{number}")
}

async fn read_all(kubernetes: &KubeApiserver) {
    for number in 0..SECRETS {
        let read = kubernetes.read_secret("default", &name(number)).await;
        assert_eq!(read, Ok(value(number)));
    }
}

/// Checks what etcd holds and returns the key_ids in it.
async fn key_ids(etcd: &Etcd) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let stored = etcd.range(STORED).await;
    assert!(stored.len() >= SECRETS, "{}", stored.len());
    for (key, bytes) in stored {
        let key = String::from_utf8(key).unwrap();
        assert!(
            bytes.starts_with(b"k8s:enc:kms:v2:"),
            "{key} is not encrypted"
        );
        assert!(
            !contains(&bytes, b"plaintext of secret"),
            "{key} holds its plaintext"
        );
        let key_id = key_id(&bytes);
        if !found.contains(&key_id) {
            found.push(key_id);
        }
    }
    found
}

/// The key_id stands readable in each stored object.
fn key_id(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let start = text.find("transit1:").unwrap();
    text[start..]
        .chars()
        .take_while(|c| c.is_ascii_graphic())
        .collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(
    any(no_vault, no_kubernetes),
    ignore = "needs Vault, kube-apiserver and etcd: set VAULT_BIN, KUBE_APISERVER_BIN and ETCD_BIN, or install Go"
)]
async fn kube_apiserver_starts_before_vault_and_writes_once_it_is_there() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    vault.kill();
    let daemon: Daemon = daemon_for(&vault.address(), &fixture)
        .release()
        .spawn()
        .await;
    let etcd = Etcd::start().await;
    let encryption = EncryptionConfiguration::v2(daemon.socket());
    let kubernetes = KubeApiserver::launch(&etcd, Some(&encryption), Vec::new());
    wait::until(
        "kube-apiserver to say that it is not ready",
        LIMIT,
        async || kubernetes.readyz().await.filter(|code| *code != 200),
    )
    .await;
    vault.restart().await;
    kubernetes.ready().await;
    let (code, answer) = kubernetes.create_secret("default", "late", &value(0)).await;
    assert_eq!(code, 201, "{answer}");
}
