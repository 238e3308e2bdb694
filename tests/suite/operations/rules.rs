//! The rules of docs/operations/failure-modes.md: what happens to who breaks them, and that what the page
//! says undoes it.

use super::{
    NAMESPACE, STORED, Site, assert_starting_without_secrets, is_readable, value_of, write,
};
use crate::LIMIT;
use crate::harness::kubernetes::KubeApiserver;
use crate::harness::vault::Vault;
use crate::harness::wait;

const KMS: (&str, &str) = ("v2", "vault");
/// What is left of `/readyz` where a Secret cannot be read at the start.
const UNREADABLE: [&str; 2] = ["informer-sync", "poststarthook/storage-readiness"];

async fn site() -> Site {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    Site::start(vault, &fixture, &[KMS]).await
}

/// Restarts it, whether it becomes ready or not.
async fn restart(kubernetes: &KubeApiserver) {
    kubernetes.start_again();
    let readyz = kubernetes.answers().await;
    eprintln!("/readyz: {readyz}");
}

/// A kube-apiserver that has just started may refuse all requests for a moment.
async fn becomes_readable(kubernetes: &KubeApiserver, name: &str) {
    wait::until_true("the Secret to be readable", LIMIT, async || {
        is_readable(kubernetes, name).await
    })
    .await;
}

/// Why a Secret that is there cannot be read.
async fn refusal(kubernetes: &KubeApiserver, name: &str) -> String {
    wait::until("kube-apiserver's own answer", LIMIT, async || {
        let read = kubernetes.read_secret(NAMESPACE, name).await;
        let (code, message) = read.expect_err("it is not readable");
        (code == 500).then_some(message)
    })
    .await
}

/// Its start has come as far as it can, and `/readyz` names what it has not read.
async fn stays_unready(kubernetes: &KubeApiserver) {
    let failed = wait::until("all but the Secrets to be read", LIMIT, async || {
        let ready = kubernetes.request_text("GET", "/readyz?verbose", None);
        let ready = ready.await.1;
        let failed = ready.lines().filter(|line| line.starts_with("[-]"));
        let failed: Vec<_> = failed.map(str::to_owned).collect();
        (failed.len() <= UNREADABLE.len()).then_some(failed)
    })
    .await;
    for (failed, expected) in failed.iter().zip(UNREADABLE) {
        assert!(failed.starts_with(&format!("[-]{expected} ")), "{failed}");
    }
    assert_starting_without_secrets(kubernetes).await;
}

fn stored(name: &str) -> String {
    format!("{STORED}{NAMESPACE}/{name}")
}

async fn an_object_of_another_cluster_is_accepted_only_if_both_use_one_key() {
    let vault = Vault::shared().await;
    let (fixture, other) = (vault.fixture().await, vault.fixture().await);
    let first = Site::start(vault, &fixture, &[KMS]).await;
    write(&first.kubernetes, "secret").await;
    let object = first.etcd.range(&stored("secret")).await.remove(0).1;
    let second = Site::start(vault, &fixture, &[KMS]).await;
    second.etcd.put(stored("secret").as_bytes(), &object).await;
    assert!(is_readable(&second.kubernetes, "secret").await);
    // Not at another path: that is what kube-apiserver binds it to.
    second.etcd.put(stored("renamed").as_bytes(), &object).await;
    refusal(&second.kubernetes, "renamed").await;
    drop(second);
    let third = Site::start(vault, &other, &[KMS]).await;
    third.etcd.put(stored("secret").as_bytes(), &object).await;
    refusal(&third.kubernetes, "secret").await;
}

async fn a_renamed_provider_reads_nothing_until_its_name_is_back() {
    let site = site().await;
    write(&site.kubernetes, "secret").await;
    site.configure(&[("v2", "renamed")]);
    restart(&site.kubernetes).await;
    let reason = refusal(&site.kubernetes, "secret").await;
    stays_unready(&site.kubernetes).await;
    assert!(reason.contains("no matching prefix found"), "{reason}");
    // A new name before the old one, as the page has it, reads both.
    site.configure(&[("v2", "renamed"), KMS]);
    restart(&site.kubernetes).await;
    becomes_readable(&site.kubernetes, "secret").await;
    site.configure(&[KMS]);
    restart(&site.kubernetes).await;
    becomes_readable(&site.kubernetes, "secret").await;
}

async fn a_kube_apiserver_without_the_configuration_cannot_read() {
    let site = site().await;
    write(&site.kubernetes, "secret").await;
    let bare = KubeApiserver::launch(&site.etcd, None, Vec::new());
    eprintln!("/readyz: {}", bare.answers().await);
    refusal(&bare, "secret").await;
    stays_unready(&bare).await;
    // It even writes, unencrypted.
    let (code, answer) = bare
        .create_secret(NAMESPACE, "bare", &value_of("bare"))
        .await;
    assert_eq!(code, 201, "{answer}");
    let object = site.etcd.range(&stored("bare")).await.remove(0).1;
    assert!(object.starts_with(b"k8s\0"));
}

async fn identity_removed_too_early_hides_what_was_not_rewritten() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture, &[]).await;
    write(&site.kubernetes, "old").await;
    site.configure_without_identity(&[KMS]);
    restart(&site.kubernetes).await;
    refusal(&site.kubernetes, "old").await;
    stays_unready(&site.kubernetes).await;
    site.configure(&[KMS]);
    restart(&site.kubernetes).await;
    becomes_readable(&site.kubernetes, "old").await;
    let (code, answer) = site.kubernetes.rewrite_secret(NAMESPACE, "old").await;
    assert_eq!(code, 200, "{answer}");
    site.configure_without_identity(&[KMS]);
    site.kubernetes.restart().await;
    assert!(is_readable(&site.kubernetes, "old").await);
}

async fn a_planted_object_is_accepted_while_identity_is_in_the_list() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture, &[]).await;
    write(&site.kubernetes, "planted").await;
    let object = site.etcd.range(&stored("planted")).await.remove(0).1;
    site.configure(&[KMS]);
    site.kubernetes.restart().await;
    site.etcd.put(stored("planted").as_bytes(), &object).await;
    assert!(is_readable(&site.kubernetes, "planted").await);
    site.configure_without_identity(&[KMS]);
    restart(&site.kubernetes).await;
    refusal(&site.kubernetes, "planted").await;
}

tests! {
    multi an_object_of_another_cluster_is_accepted_only_if_both_use_one_key [Vault, Kubernetes];
    multi a_renamed_provider_reads_nothing_until_its_name_is_back [Vault, Kubernetes];
    multi a_kube_apiserver_without_the_configuration_cannot_read [Vault, Kubernetes];
    multi identity_removed_too_early_hides_what_was_not_rewritten [Vault, Kubernetes];
    multi a_planted_object_is_accepted_while_identity_is_in_the_list [Vault, Kubernetes];
}
