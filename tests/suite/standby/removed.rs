//! A node that was removed from its cluster: it runs, and can never serve again. OpenBao does not tell such
//! a node.

use std::time::Duration;

use serde_json::json;

use crate::check::proven;
use crate::daemon_for;
use crate::harness::kms::KmsClient;
use crate::harness::vault::cluster::Cluster;
use crate::harness::wait;

/// Raft gives the removed node up after some elections.
const LIMIT: Duration = Duration::from_secs(60);

async fn a_node_that_was_removed_from_its_cluster_is_passed_over_and_named() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let removed = (leader + 1) % 3;
    let fixture = cluster.node(leader).fixture().await;
    let id = format!("n{}", cluster.node(removed).socket_address().port());
    let path = "sys/storage/raft/remove-peer";
    let body = json!({ "server_id": id });
    cluster.node(leader).expect("POST", path, Some(body)).await;
    let health = wait::until("the node to notice", LIMIT, async || {
        let health = cluster.node(removed).health().await?;
        (health != 429).then_some(health)
    })
    .await;
    let mut addresses = cluster.addresses();
    addresses.swap(0, removed);
    let list = format!("[vault]\naddress = {addresses:?}");
    let builder = || daemon_for(&addresses[0], &fixture).extra(&list);
    let daemon = builder().spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    for _ in 0..10 {
        client.encrypt(&[3; 32]).await.unwrap();
    }
    let said = proven(builder(), &[]).await;
    said.says("✓ round trip: ");
    // Since 1.19; older ones are sealed.
    assert_eq!(health, 530);
    said.ends_with(69).names(
        "Vault was removed from its cluster",
        "remove it from vault.address, or let it join again",
    );
}

tests! {
    multi a_node_that_was_removed_from_its_cluster_is_passed_over_and_named [Vault, NoNamespaces];
}
