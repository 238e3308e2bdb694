//! `migrate` where etcd can be read: only what is out of date is written, and an audit proves the end.

use serde_json::Value;

use super::site::{Site, identity};
use crate::harness::kubernetes::Etcd;
use crate::harness::vault::Vault;

/// How many objects a run wrote, and the number of all values that changed in etcd meanwhile.
async fn migrate(site: &Site, code: i32) -> (u64, usize, String) {
    let before = site.stored().await;
    let endpoints = site.etcd.address();
    let arguments = ["migrate", "--json", "--qps", "0", "--endpoints", &endpoints];
    let ended = site.run(&arguments).await.expect(code);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let resources = report["resources"].as_array().unwrap().iter();
    let written = resources.map(|one| one["written"].as_u64().unwrap()).sum();
    let after = site.stored().await;
    let changed = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(value));
    (written, changed.count(), ended.err)
}

async fn only_what_is_out_of_date_is_written_and_the_end_is_proven() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture).await;
    site.fill(6).await;
    let plain = site.stored().await.len();
    site.configure(&[site.kms("v2", "vault"), identity()]).await;
    for number in 0..4 {
        let name = format!("encrypted-{number}");
        let (code, answer) = site
            .kubernetes
            .create_secret("default", &name, "value")
            .await;
        assert_eq!(code, 201, "{answer}");
    }
    let contents = site.contents().await;
    let (written, changed, said) = migrate(&site, 0).await;
    assert_eq!((written, changed), (plain as u64, plain), "{said}");
    assert!(
        said.contains("clean: nothing to do") && said.contains("may be removed"),
        "{said}"
    );
    assert_eq!(site.contents().await, contents);
    site.assert_stored("k8s:enc:kms:v2:vault:", &fixture.key)
        .await;
    let (written, changed, said) = migrate(&site, 0).await;
    assert_eq!((written, changed), (0, 0), "{said}");
}

async fn the_etcd_of_another_cluster_is_refused() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture).await;
    site.fill(2).await;
    site.configure(&[site.kms("v2", "vault"), identity()]).await;
    let other = Etcd::start().await;
    let before = site.stored().await;
    let mut command = site.command(&["migrate"]);
    command.env("ETCDCTL_ENDPOINTS", other.address());
    let ended = super::site::finish(command).await.expect(78);
    assert!(
        ended.err.contains("is not that of the cluster"),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("ETCDCTL_ENDPOINTS"), "{}", ended.err);
    assert_eq!(site.stored().await, before);
    // One that is not there is no reason not to write, unless an option names it.
    let mut command = site.command(&["migrate", "--qps", "0"]);
    command.env("ETCDCTL_ENDPOINTS", "http://127.0.0.1:1");
    let ended = super::site::finish(command).await.expect(0);
    assert!(ended.err.contains("etcd is not read"), "{}", ended.err);
    site.run(&["migrate", "--endpoints", "http://127.0.0.1:1"])
        .await
        .expect(69);
}

tests! {
    multi only_what_is_out_of_date_is_written_and_the_end_is_proven [Vault, Kubernetes];
    multi the_etcd_of_another_cluster_is_refused [Vault, Kubernetes];
}
