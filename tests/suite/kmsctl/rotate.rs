//! `rotate`: one command for the rotation, which waits for every kube-apiserver and is safe to repeat.

use std::fs;
use std::process::Command;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::site::{Ended, Site, encryption, finish, identity};
use crate::documents::kubeconfig;
use crate::harness::daemon::Daemon;
use crate::harness::kubernetes::KubeApiserver;
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::vault::{Fixture, Vault};
use crate::harness::wait;
use crate::{LIMIT, daemon_for};

const METRIC: &str = "key_id_hash_status_last_timestamp_seconds{";

/// A site with a second node, whose plugin reaches Vault through a proxy.
struct Nodes {
    site: Site,
    second: KubeApiserver,
    proxy: Proxy,
    _plugin: Daemon,
    fixture: Fixture,
}

impl Nodes {
    async fn start(vault: &Vault) -> Self {
        let fixture = vault.fixture().await;
        let site = Site::start(vault, &fixture).await;
        site.configure(&[site.kms("v2", "vault"), identity()]).await;
        let proxy = Proxy::start(vault.socket_address());
        let plugin = daemon_for(&proxy.address(), &fixture).spawn().await;
        let socket = plugin.socket().display();
        let kms = format!("kms: {{apiVersion: v2, name: vault, endpoint: 'unix://{socket}'}}");
        let file = encryption(
            "[secrets, configmaps, widgets.example.org]",
            &[kms, identity()],
        );
        let second = KubeApiserver::start(&site.etcd, Some(&file), None).await;
        let both = format!("{}{}", site.kubernetes.ca_pem(), second.ca_pem());
        let text = kubeconfig(&site.kubernetes);
        let one = STANDARD.encode(site.kubernetes.ca_pem());
        let text = text.replace(&one, &STANDARD.encode(both));
        fs::write(site.path("kubeconfig"), text).unwrap();
        let nodes = Self {
            site,
            second,
            proxy,
            _plugin: plugin,
            fixture,
        };
        for kubernetes in [&nodes.site.kubernetes, &nodes.second] {
            wait::until_true("a Status", LIMIT, async || {
                kubernetes.metrics().await.contains(METRIC)
            })
            .await;
        }
        // What kube-apiserver wrote itself before it had a plugin.
        nodes
            .site
            .run(&["migrate", "--method", "direct"])
            .await
            .expect(0);
        nodes
    }

    fn command(&self, vault: &Vault, arguments: &[&str]) -> Command {
        let mut command = self.site.command(&[&["rotate"], arguments].concat());
        command
            .env("VAULT_TOKEN", vault.root_token())
            .arg("--config")
            .arg(self.site.daemon.config_path())
            .args(["--apiserver", &self.site.kubernetes.address()])
            .args(["--apiserver", &self.second.address()]);
        command
    }

    async fn run(&self, vault: &Vault, arguments: &[&str]) -> Ended {
        let ended = finish(self.command(vault, arguments)).await;
        eprintln!(
            "rotate {arguments:?}: {:?}\n{}\n{}",
            ended.code, ended.out, ended.err
        );
        ended
    }

    async fn latest(&self, vault: &Vault) -> u64 {
        let key = vault.read_key(&self.fixture.mount, &self.fixture.key).await;
        key["latest_version"].as_u64().unwrap()
    }
}

async fn it_waits_for_every_kube_apiserver_names_the_one_that_lags_and_goes_on_when_repeated() {
    let vault = Vault::shared().await;
    let nodes = Nodes::start(vault).await;
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
    let nodes = Nodes::start(vault).await;
    // The daemon's own token may not rotate.
    let mut command = nodes.command(vault, &["--wait"]);
    command.env("VAULT_TOKEN", &nodes.fixture.token);
    let ended = finish(command).await.expect(69);
    assert!(
        ended.err.contains("/rotate") && !ended.err.contains(&nodes.fixture.token),
        "{ended:?}"
    );
    let mut command = nodes.command(vault, &["--wait"]);
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
