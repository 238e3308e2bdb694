//! kube-apiserver's own view: how long a cold one takes until it is ready, and to list Secrets
//! whose keys it has to have unwrapped first.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::harness::daemon::Daemon;
use super::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use super::plain::PlainCaller;

const SECRETS: usize = 5_000;
const NAMESPACE: &str = "many";
/// How many Secrets are made at a time.
const AT_A_TIME: usize = 50;

struct Cold {
    ready: Duration,
    list: Duration,
}

/// Under v1 and v2, each from an etcd of its own. Vault closes a connection that is idle as long as
/// kube-apiserver takes, so `plain` connects in between.
pub(super) async fn measured(daemon: &Daemon, plain: impl Future<Output = PlainCaller>) -> String {
    let v1 = cold(EncryptionConfiguration::v1(daemon.socket())).await;
    let mut plain = plain.await;
    let serial = Instant::now();
    for _ in 0..SECRETS {
        plain.decrypt().await;
    }
    let serial = serial.elapsed();
    let v2 = cold(EncryptionConfiguration::v2(daemon.socket())).await;
    // The watch cache reads all Secrets before the server is ready, so under v1 that is when keys
    // are unwrapped: what counts is the time until the list is there.
    let ratio = (v1.ready + v1.list).as_secs_f64() / serial.as_secs_f64();
    format!(
        "a cold kube-apiserver with {SECRETS} Secrets\n\n\
         {:<22}{:>12}{:>16}\n\
         {:<22}{:>10.2} s{:>14.2} s\n\
         {:<22}{:>10.2} s{:>14.2} s\n\n\
         {SECRETS} plain calls one after another: {:.2} s; from the start to the list under v1 it is {ratio:.2} x (goal: at most 1.3)",
        "",
        "ready",
        "first LIST",
        "KMS v1",
        v1.ready.as_secs_f64(),
        v1.list.as_secs_f64(),
        "KMS v2",
        v2.ready.as_secs_f64(),
        v2.list.as_secs_f64(),
        serial.as_secs_f64(),
    )
}

async fn cold(encryption: String) -> Cold {
    let etcd = Etcd::start().await;
    let server = KubeApiserver::start(&etcd, Some(&encryption), Some("KMSv1=true")).await;
    server.create_namespace(NAMESPACE).await;
    let numbers: Vec<usize> = (0..SECRETS).collect();
    for some in numbers.chunks(AT_A_TIME) {
        let made = some.iter().map(async |number| {
            let name = format!("secret-{number}");
            let (status, answer) = server.create_secret(NAMESPACE, &name, "a value").await;
            assert_eq!(status, 201, "{answer}");
        });
        join_all(made).await;
    }
    let begun = Instant::now();
    server.restart().await;
    let ready = begun.elapsed();
    let begun = Instant::now();
    let listed = server
        .list_secrets(NAMESPACE)
        .await
        .expect("they can be read");
    assert_eq!(listed.len(), SECRETS);
    let list = begun.elapsed();
    Cold { ready, list }
}
