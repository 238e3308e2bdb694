//! A network of its own for the nodes of one test: a bridge with an address of this host, where the doubles
//! listen that stand before Vault and before kube-apiserver.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use super::super::harness::certificates::Certificates;
use super::super::harness::forwarder::{balancer, tls_end_at};
use super::super::harness::listener::Listener;

/// The name by which the nodes know Vault, as in the pages.
pub(super) const VAULT: &str = "vault.example";
/// The name by which they know the control plane.
pub(super) const CONTROL_PLANE: &str = "api.example";
/// Where kube-apiserver listens, on each node and in front of all.
pub(super) const PORT: u16 = 6443;

/// The bridge; gone when dropped.
pub(super) struct Network {
    name: String,
    subnet: u8,
    certificates: Certificates,
}

impl Network {
    /// A bridge whose network no other interface of this host has.
    pub(super) fn new() -> Self {
        let used = output(&["-4", "addr"]);
        let free: Vec<u8> = (1..250)
            .filter(|it| !used.contains(&format!(" 10.77.{it}.")))
            .collect();
        let subnet = fastrand::choice(free).expect("not every network is used");
        let network = Self {
            name: format!("kms-nodes-{subnet}"),
            subnet,
            certificates: Certificates::new(),
        };
        let name = &network.name;
        ip(&["link", "add", name, "type", "bridge"]);
        let host = format!("{}/24", network.host());
        ip(&["addr", "add", &host, "dev", name]);
        ip(&["link", "set", name, "up"]);
        network.certificates.server(VAULT);
        network
    }

    /// The bridge's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// This host's address.
    pub(super) fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.subnet, 1)
    }

    /// The address of the node with this index.
    pub(super) fn node(&self, index: usize) -> Ipv4Addr {
        let last = u8::try_from(index).expect("there are few nodes") + 11;
        Ipv4Addr::new(10, 77, self.subnet, last)
    }

    /// The certificate of the CA that has issued Vault's.
    pub(super) fn ca_pem(&self) -> String {
        self.certificates.ca_pem()
    }

    /// The server at `target`, to be had by the nodes at `https://vault.example:PORT`.
    pub(super) fn vault(&self, port: u16, target: SocketAddr) -> Listener {
        let path = |kind: &str| self.certificates.path(&format!("{VAULT}.{kind}"));
        let address = SocketAddr::from((self.host(), port));
        tls_end_at(address, target, &path("pem"), &path("key"))
    }

    /// The load balancer of a control plane of so many nodes.
    pub(super) fn control_plane(&self, nodes: usize) -> Listener {
        let targets = (0..nodes).map(|index| SocketAddr::from((self.node(index), PORT)));
        balancer((self.host(), PORT).into(), targets.collect())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["link", "del", &self.name])
            .status();
    }
}

fn ip(arguments: &[&str]) {
    output(arguments);
}

fn output(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output();
    let output = output.expect("ip can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
