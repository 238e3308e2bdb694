//! `rotate`: one command for the rotation, which waits for every kube-apiserver and is safe to repeat.

use super::nodes::Nodes;
use super::site::{Site, finish, identity};
use crate::harness::proxy::Fault;
use crate::harness::vault::Vault;

/// Two nodes that write KMS v2, and nothing that is older.
async fn two_nodes(vault: &Vault) -> Nodes {
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture).await;
    let providers = [site.kms("v2", "vault"), identity()];
    site.configure(&providers).await;
    let nodes = Nodes::join(site, vault, fixture, &providers).await;
    // What kube-apiserver wrote itself before it had a plugin.
    let migrated = nodes.site.run(&["migrate", "--method", "direct"]).await;
    migrated.expect(0);
    nodes
}

async fn it_waits_for_every_kube_apiserver_names_the_one_that_lags_and_goes_on_when_repeated() {
    let vault = Vault::shared().await;
    let nodes = two_nodes(vault).await;
    let site = &nodes.site;
    site.fill(10).await;
    let before = site.contents().await;
    let of_version = |version: u64| format!("transit1::{}:kms:v{version}:", nodes.fixture.mount);
    site.assert_stored("k8s:enc:kms:v2:vault:", &of_version(1))
        .await;

    nodes.proxy.fault("", Fault::Refuse);
    let arguments = [
        "--wait",
        "--timeout",
        "75s",
        "--method",
        "direct",
        "--qps",
        "0",
    ];
    let ended = nodes.run(vault, &arguments).await.expect(69);
    let second = nodes.second.address();
    let line = ended
        .err
        .lines()
        .rfind(|line| line.contains(&second))
        .unwrap_or_default();
    assert!(line.contains("follows version 1"), "{ended:?}");
    let first = site.kubernetes.address();
    let last = ended.err.lines().rev().take(2).collect::<String>();
    assert!(
        !last.contains(&first) && last.contains("nothing is written again"),
        "{last}"
    );
    site.assert_stored("k8s:enc:kms:v2:vault:", &of_version(1))
        .await;
    assert_eq!(nodes.latest(vault).await, 2);

    nodes.proxy.clear();
    let arguments = [
        "--wait",
        "--timeout",
        "5m",
        "--method",
        "direct",
        "--qps",
        "0",
    ];
    let ended = nodes.run(vault, &arguments).await.expect(0);
    assert!(ended.err.contains("it is not rotated again"), "{ended:?}");
    assert!(
        ended.err.contains("all 2 kube-apiservers use v2"),
        "{ended:?}"
    );
    assert_eq!(nodes.latest(vault).await, 2);
    site.assert_stored("k8s:enc:kms:v2:vault:", &of_version(2))
        .await;
    assert_eq!(site.contents().await, before);

    // Without --wait it only rotates, and only once.
    let ended = nodes.run(vault, &[]).await.expect(0);
    assert!(ended.err.contains("rotated from v2 to v3"), "{ended:?}");
    let ended = nodes.run(vault, &[]).await.expect(0);
    assert!(
        ended
            .err
            .contains("v3 of the key is not used by every kube-apiserver yet"),
        "{ended:?}"
    );
    assert_eq!(nodes.latest(vault).await, 3);
}

async fn what_is_missing_is_named_before_the_key_is_rotated() {
    let vault = Vault::shared().await;
    let nodes = two_nodes(vault).await;
    // The daemon's own token may not rotate.
    let mut command = nodes.rotate(vault, &["--wait"]);
    command.env("VAULT_TOKEN", &nodes.fixture.token);
    let ended = finish(command).await.expect(69);
    assert!(
        ended.err.contains("/rotate") && !ended.err.contains(&nodes.fixture.token),
        "{ended:?}"
    );
    let mut command = nodes.rotate(vault, &["--wait"]);
    command.env_remove("VAULT_TOKEN");
    let ended = finish(command).await.expect(78);
    assert!(ended.err.contains("VAULT_TOKEN is not set"), "{ended:?}");
    // Which version a kube-apiserver uses that does not answer is not known.
    nodes.second.kill();
    let ended = nodes.run(vault, &["--wait"]).await.expect(69);
    assert!(ended.err.contains("so the key is not rotated"), "{ended:?}");
    assert_eq!(nodes.latest(vault).await, 1);
    // With KMS v1 nothing can be awaited.
    nodes
        .site
        .configure(&[nodes.site.kms("v1", "old"), identity()])
        .await;
    let ended = nodes.run(vault, &["--wait"]).await.expect(78);
    assert!(
        ended.err.contains("KMS v1, which has no key_id"),
        "{ended:?}"
    );
    let ended = nodes.run(vault, &[]).await.expect(0);
    assert!(ended.err.contains("rotated from v1 to v2"), "{ended:?}");
}

tests! {
    multi it_waits_for_every_kube_apiserver_names_the_one_that_lags_and_goes_on_when_repeated [Vault, Kubernetes];
    multi what_is_missing_is_named_before_the_key_is_rotated [Vault, Kubernetes];
}
