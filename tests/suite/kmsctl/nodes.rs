//! Two nodes over one etcd: two kube-apiservers, each with a plugin of its own.

use std::fs;
use std::process::Command;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::site::{Ended, RESOURCES, Site, encryption, finish};
use crate::documents::kubeconfig;
use crate::harness::daemon::Daemon;
use crate::harness::kubernetes::KubeApiserver;
use crate::harness::proxy::Proxy;
use crate::harness::vault::{Fixture, Vault};
use crate::harness::wait;
use crate::{LIMIT, daemon_for};

const METRIC: &str = "key_id_hash_status_last_timestamp_seconds{";

/// A site with a second node, whose plugin reaches Vault through a proxy.
pub(super) struct Nodes {
    pub(super) site: Site,
    pub(super) second: KubeApiserver,
    pub(super) proxy: Proxy,
    _plugin: Daemon,
    pub(super) fixture: Fixture,
}

impl Nodes {
    /// Joins a node to a site whose file has these providers; they write KMS v2.
    pub(super) async fn join(
        site: Site,
        vault: &Vault,
        fixture: Fixture,
        providers: &[String],
    ) -> Self {
        let proxy = Proxy::start(vault.socket_address());
        let plugin = daemon_for(&proxy.address(), &fixture).spawn().await;
        let first = site.daemon.socket().display().to_string();
        let own = plugin.socket().display().to_string();
        let file = encryption(RESOURCES, providers).replace(&first, &own);
        let gates = Some("KMSv1=true");
        let second = KubeApiserver::start(&site.etcd, Some(&file), gates).await;
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
        nodes
    }

    /// `rotate` as an operator runs it, with a token that may.
    pub(super) fn rotate(&self, vault: &Vault, arguments: &[&str]) -> Command {
        let mut command = self.site.command(&[&["rotate"], arguments].concat());
        command
            .env("VAULT_TOKEN", vault.root_token())
            .arg("--config")
            .arg(self.site.daemon.config_path())
            .args(["--apiserver", &self.site.kubernetes.address()])
            .args(["--apiserver", &self.second.address()]);
        command
    }

    pub(super) async fn run(&self, vault: &Vault, arguments: &[&str]) -> Ended {
        let ended = finish(self.rotate(vault, arguments)).await;
        eprintln!(
            "rotate {arguments:?}: {:?}\n{}\n{}",
            ended.code, ended.out, ended.err
        );
        ended
    }

    pub(super) async fn latest(&self, vault: &Vault) -> u64 {
        let key = vault.read_key(&self.fixture.mount, &self.fixture.key).await;
        key["latest_version"].as_u64().unwrap()
    }
}
