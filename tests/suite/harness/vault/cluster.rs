//! Three servers on raft storage: one leads, and another takes over when it steps down or dies.

use serde_json::{Value, json};

use super::launch::raft_config;
use super::{Kind, READY_LIMIT, Vault, child, wait};

/// As many as needed to lose one.
const NODES: usize = 3;

/// A running cluster; killed when dropped.
pub struct Cluster {
    nodes: Vec<Vault>,
}

impl Cluster {
    /// Starts the nodes, initialises the first and lets the others join it.
    pub async fn start() -> Self {
        let ports: Vec<u16> = (0..NODES).map(|_| child::free_port()).collect();
        let node = |&port: &u16| {
            let sealed = Kind::Persistent {
                root_token: String::new(),
                unseal_key: String::new(),
            };
            Vault::with_config(sealed, port, "", |dir| raft_config(dir, port, &ports))
        };
        let mut nodes: Vec<Vault> = ports.iter().map(node).collect();
        nodes[0].initialise().await;
        let Kind::Persistent {
            root_token,
            unseal_key,
        } = &nodes[0].kind
        else {
            unreachable!("made as a persistent one above");
        };
        let (root_token, unseal_key) = (root_token.clone(), unseal_key.clone());
        for node in &mut nodes[1..] {
            node.kind = Kind::Persistent {
                root_token: root_token.clone(),
                unseal_key: unseal_key.clone(),
            };
        }
        let cluster = Self { nodes };
        cluster.give_votes_early().await;
        for node in &cluster.nodes[1..] {
            cluster.join(node).await;
        }
        cluster.wait_voting().await;
        cluster
    }

    /// Without this a node may vote only after 10 s.
    async fn give_votes_early(&self) {
        let path = "sys/storage/raft/autopilot/configuration";
        let early = json!({ "server_stabilization_time": "1s" });
        self.nodes[0].expect("POST", path, Some(early)).await;
    }

    /// Waits until every node has a vote: with fewer the leader cannot be lost.
    async fn wait_voting(&self) {
        wait::until_true("every node to have a vote", READY_LIMIT, async || {
            let path = "sys/storage/raft/configuration";
            let answer = self.nodes[0].expect("GET", path, None).await;
            let servers = answer["data"]["config"]["servers"].as_array();
            let voting = |server: &&Value| server["voter"] == true;
            servers.is_some_and(|all| all.iter().filter(voting).count() == NODES)
        })
        .await;
    }

    /// All addresses, in the order of the nodes.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(Vault::address).collect()
    }

    /// One of the nodes, to prepare the cluster: a standby forwards requests.
    pub fn node(&self, index: usize) -> &Vault {
        &self.nodes[index]
    }

    /// Which node leads; waits until one does.
    pub async fn leader(&self) -> usize {
        wait::until("a leader", READY_LIMIT, async || {
            for (index, node) in self.nodes.iter().enumerate() {
                if node.health().await == Some(200) {
                    return Some(index);
                }
            }
            None
        })
        .await
    }

    /// Makes the leader step down. Returns its index.
    pub async fn step_down(&self) -> usize {
        let leader = self.leader().await;
        self.nodes[leader]
            .expect("PUT", "sys/step-down", None)
            .await;
        leader
    }

    /// Kills the leader with SIGKILL. Returns its index.
    pub async fn kill_leader(&self) -> usize {
        let leader = self.leader().await;
        self.nodes[leader].kill();
        leader
    }

    /// Seals the leader. Returns its index.
    pub async fn seal_leader(&self) -> usize {
        let leader = self.leader().await;
        self.nodes[leader].seal().await;
        leader
    }

    /// Starts a killed or sealed node again, as a standby.
    pub async fn bring_back(&self, index: usize) {
        self.nodes[index].relaunch();
        self.join(&self.nodes[index]).await;
    }

    /// Waits until the node has joined: it contacts the leader itself, but needs the unseal key.
    async fn join(&self, node: &Vault) {
        let Kind::Persistent { unseal_key, .. } = &node.kind else {
            unreachable!("every node is a persistent one");
        };
        let key = json!({ "key": unseal_key });
        wait::until_true("a node to follow", READY_LIMIT, async || {
            node.child().expect_alive();
            match node.health().await {
                Some(200 | 429) => true,
                Some(_) => {
                    let unseal = node.try_request("PUT", "sys/unseal", Some(key.clone()));
                    // Refused until it has found the leader.
                    let _: Option<(u16, Value)> = unseal.await.ok();
                    false
                }
                None => false,
            }
        })
        .await;
    }
}
