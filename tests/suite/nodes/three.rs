//! Three control-plane nodes over one etcd, with three Vaults: the plugin comes to a running cluster node by node, by the
//! guide, under clients that write and read.

use super::super::harness::vault::cluster::Cluster;
use super::control_plane::say;
use super::images::{PLUGIN, UPGRADED};
use super::network::Network;
use super::node::Node;
use super::site::{Site, page};
use super::workload::{Clients, Workload};

const NODES: usize = 3;

/// The section "Existing cluster" of the guide.
async fn install(site: &Site) {
    for node in &site.nodes {
        node.follow("Plugin", &[]).await;
    }
    let [readers, config, manifest] = &page().blocks("Readers on every node", "sh")[..] else {
        panic!("the guide has other steps");
    };
    for node in &site.nodes {
        node.sh(readers).await;
    }
    site.nodes[0].sh(config).await;
    for node in &site.nodes {
        let said = node.sh(manifest).await;
        assert!(said.contains("[+]kms-provider"), "{said}");
    }
    for node in &site.nodes {
        node.follow("The writer", &[]).await;
    }
}

/// Waits until every kube-apiserver knows the new version.
async fn rotate(site: &Site, vaults: &Cluster, load: &Workload) {
    let hashes = |node: &Node| {
        format!(
            "kubectl --server https://{}:6443 get --raw /metrics | \
             grep -c '^apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds'",
            node.address
        )
    };
    let before = site.nodes[0].sh(&hashes(&site.nodes[0])).await;
    let leader = vaults.leader().await;
    vaults.node(leader).rotate("transit", "kms").await;
    for node in &site.nodes {
        let more = format!("test \"$({})\" -gt {}", hashes(node), before.trim());
        node.until("the new key_id", &more).await;
    }
    assert!(load.written() > 0);
}

/// One node after the other.
async fn upgrade(site: &Site) {
    for node in &site.nodes {
        let edit = format!(
            "sed 's#{PLUGIN}#{UPGRADED}#' /etc/kubernetes/manifests/vault-kms-plugin.yaml > edited.yaml && \
             mv edited.yaml /etc/kubernetes/manifests/vault-kms-plugin.yaml"
        );
        node.sh(&edit).await;
        let upgraded = format!(
            "test \"$(crictl inspect \"$(crictl ps --name '^vault-kms-plugin$' -q)\" | jq -r .status.image.image)\" = {UPGRADED} && \
             curl -sS --fail http://127.0.0.1:8790/readyz"
        );
        node.until("the upgraded plugin", &upgraded).await;
    }
}

async fn nothing_is_unreadable_while_the_plugin_comes_to_three_nodes_and_one_is_lost() {
    let network = Network::new();
    let vaults = Cluster::start().await;
    let ports = [8200, 8201, 8202];
    let ends: Vec<_> = (0..NODES)
        .map(|index| network.vault(ports[index], vaults.node(index).socket_address()))
        .collect();
    let balancer = network.control_plane(NODES);
    let addresses: Vec<_> = ports
        .iter()
        .map(|port| format!("https://vault.example:{port}"))
        .collect();
    let leader = vaults.leader().await;
    let address = addresses.join(" --address ");
    let mut site = Site::new(network, vaults.node(leader), &address, NODES).await;
    site.make_control_plane().await;
    let clients = Clients::new(&site.nodes).await;
    let load = Workload::start(&clients);
    load.progress(10).await;

    install(&site).await;
    say(&format!(
        "installed on three nodes under {} writes",
        load.written()
    ));
    site.nodes[0].write_all_again(1).await;
    rotate(&site, &vaults, &load).await;
    site.nodes[0].write_all_again(2).await;
    say(&format!(
        "rotated and written again after {} writes",
        load.written()
    ));
    upgrade(&site).await;
    say(&format!("upgraded after {} writes", load.written()));

    // The last node, and the Vault that leads.
    site.nodes[2].machine.halt();
    let lost = vaults.kill_leader().await;
    load.progress(20).await;
    vaults.bring_back(lost).await;
    site.nodes[2].machine.power_on().await;
    site.nodes[2].ready().await;
    let outcome = load.stop().await;
    say(&outcome.summary());
    site.nodes[0].expect_all_under(2).await;
    drop((ends, balancer));
}

tests! {
    multi nothing_is_unreadable_while_the_plugin_comes_to_three_nodes_and_one_is_lost [Vault, Nodes] soak "three control-plane nodes for many minutes: cargo nodes";
}
