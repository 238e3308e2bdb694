//! The main job, end to end: a real kube-apiserver encrypts Secrets through the release binary and
//! a real Vault, and etcd holds nothing that can be read.

mod outage;
mod policy;
mod v1;

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use super::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use super::harness::vault::Vault;
use super::harness::wait;
use super::{LIMIT, daemon_for, shipped};

const SECRETS: usize = 200;
pub(crate) const NAMESPACE: &str = "default";
const STORED: &str = "/registry/secrets/default/";

pub(crate) fn name(number: usize) -> String {
    format!("secret-{number}")
}

pub(crate) fn value(number: usize) -> String {
    format!("the plaintext of secret number {number}, which etcd must not hold")
}

pub(crate) async fn create(kubernetes: &KubeApiserver, number: usize) {
    let (code, answer) = kubernetes
        .create_secret(NAMESPACE, &name(number), &value(number))
        .await;
    assert_eq!(code, 201, "{answer}");
}

pub(crate) async fn create_all(kubernetes: &KubeApiserver, numbers: Range<usize>) {
    for number in numbers {
        create(kubernetes, number).await;
    }
}

/// Reads all Secrets with these numbers, in one list.
pub(crate) async fn read_all(kubernetes: &KubeApiserver, numbers: Range<usize>) {
    let read = kubernetes.list_secrets(NAMESPACE).await.unwrap();
    for number in numbers {
        assert_eq!(read.get(&name(number)), Some(&value(number)), "{number}");
    }
}

/// Checks that etcd holds at least so many, each encrypted under `prefix`, and gives them.
async fn stored(etcd: &Etcd, prefix: &str, least: usize) -> Vec<Vec<u8>> {
    let stored = etcd.range(STORED).await;
    assert!(stored.len() >= least, "{} of {least}", stored.len());
    for (key, bytes) in &stored {
        let key = String::from_utf8_lossy(key);
        assert!(
            bytes.starts_with(prefix.as_bytes()),
            "{key} is not stored under {prefix}"
        );
        assert!(
            !contains(bytes, b"plaintext of secret"),
            "{key} holds its plaintext"
        );
    }
    stored.into_iter().map(|(_, bytes)| bytes).collect()
}

/// The printable text in a stored object that begins with `start`: a key_id, a ciphertext.
fn text_from(bytes: &[u8], start: &str) -> String {
    let text = String::from_utf8_lossy(bytes);
    let from = text.find(start).unwrap();
    text[from..]
        .chars()
        .take_while(|c| c.is_ascii_graphic())
        .collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

/// The key_ids of what etcd holds; each object contains its own in clear text.
async fn key_ids(etcd: &Etcd, least: usize) -> BTreeSet<String> {
    let stored = stored(etcd, "k8s:enc:kms:v2:", least).await;
    let key_ids = stored.iter().map(|bytes| text_from(bytes, "transit1:"));
    key_ids.collect()
}

async fn kube_apiserver_keeps_its_secrets_through_restart_and_rotation() {
    let vault = Vault::start().await;
    let (fixture, daemon) = shipped(&vault).await;
    let etcd = Etcd::start().await;
    let encryption = EncryptionConfiguration::v2(daemon.socket());
    let kubernetes = KubeApiserver::start(&etcd, Some(&encryption), None).await;

    create_all(&kubernetes, 0..SECRETS).await;
    let first = key_ids(&etcd, SECRETS).await;
    assert_eq!(first.len(), 1, "{first:?}");

    kubernetes.kill();
    kubernetes.restart().await;
    read_all(&kubernetes, 0..SECRETS).await;

    vault.rotate(&fixture.mount, &fixture.key).await;
    // kube-apiserver asks for Status once a minute; the daemon looks at the key every 30 s.
    let mut number = SECRETS;
    wait::until(
        "a new key_id in etcd",
        Duration::from_secs(120),
        async || {
            create(&kubernetes, number).await;
            number += 1;
            // Not the wait itself, only its pace: two new Secrets a second will do.
            tokio::time::sleep(Duration::from_millis(500)).await;
            (key_ids(&etcd, number).await.len() == 2).then_some(())
        },
    )
    .await;
    read_all(&kubernetes, 0..number).await;
    kubernetes.kill();
    kubernetes.restart().await;
    read_all(&kubernetes, 0..number).await;
}

async fn kube_apiserver_starts_before_vault_and_writes_once_it_is_there() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    vault.kill();
    let builder = daemon_for(&vault.address(), &fixture).release();
    let daemon = builder.spawn().await;
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
    create(&kubernetes, 0).await;
}

tests! {
    [outage, policy, v1]
    multi kube_apiserver_keeps_its_secrets_through_restart_and_rotation [Vault, Kubernetes];
    multi kube_apiserver_starts_before_vault_and_writes_once_it_is_there [Vault, Kubernetes];
}
