//! A node: a machine with containerd and kubelet, as Kubernetes' packages install them, and its images.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::super::harness::http::{self, Request};
use super::super::harness::machine::{Machine, Plan};
use super::super::harness::servers::{Server, binary, release_daemon, target_dir};
use super::super::harness::wait;
use super::images;
use super::network::{CONTROL_PLANE, Network, PORT, VAULT};

/// An operator's command may take longer than a program's: kubeadm waits for a control plane.
const COMMAND_LIMIT: Duration = Duration::from_secs(400);
/// How long kubelet and kube-apiserver may take for anything, on a machine that others use too.
pub(super) const LIMIT: Duration = Duration::from_secs(300);
/// Where the archives of the images are.
const IMAGES: &str = "/srv/images";
/// The program of the image, for a node that runs it as a unit.
pub(super) const PROGRAM: &str = "/srv/vault-kms-plugin";
/// What an operator brings along.
pub(super) const HOME: &str = "/srv/home";

/// A running node.
pub(super) struct Node {
    pub(super) machine: Machine,
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
}

impl Node {
    /// Boots the node with this index in `network`, and loads its images.
    pub(super) async fn boot(network: &Network, index: usize) -> Self {
        let name = format!("node-{index}");
        let address = network.node(index);
        let hosts = format!(
            "127.0.0.1 localhost\n{host} {VAULT} {CONTROL_PLANE}\n{address} {name}\n",
            host = network.host()
        );
        let own = format!("ADDRESS={address}\nGATEWAY={}\n", network.host());
        let mut plan = Plan::on_disk(&target_dir())
            .privileged()
            .bridge(network.name())
            .program(images::all(), IMAGES)
            .program(&release_daemon(), PROGRAM)
            .file("/etc/hostname", &format!("{name}\n"))
            .file("/etc/hosts", &hosts)
            .file("/etc/resolv.conf", "")
            .file("/etc/node.address", &own)
            .file("/etc/node.sh", include_str!("files/node.sh"))
            .file(
                "/etc/systemd/system/node.service",
                include_str!("files/node.service"),
            )
            .file(
                "/etc/systemd/system/kubelet.service",
                include_str!("files/kubelet.service"),
            )
            .file(
                "/etc/containerd/config.toml",
                include_str!("files/containerd.toml"),
            )
            .file(
                "/etc/crictl.yaml",
                "runtime-endpoint: unix:///run/containerd/containerd.sock\n",
            );
        for server in [
            Server::Kubelet,
            Server::Kubeadm,
            Server::Kubectl,
            Server::Crictl,
        ] {
            plan = plan.program(&binary(server), &format!("/usr/bin/{}", server.name()));
        }
        // An overlay cannot be mounted over another one, nor etcd use one.
        for directory in ["containerd", "kubelet", "etcd"] {
            plan = plan.directory(&format!("/var/lib/{directory}"));
        }
        for unit in ["node.service", "containerd.service", "kubelet.service"] {
            plan = plan.start(unit);
        }
        let machine = plan.boot().await;
        let node = Self {
            machine,
            name,
            address,
        };
        node.machine.ok(&["mkdir", "-p", HOME]).await;
        let load =
            "for image in /srv/images/*.tar; do ctr -n k8s.io images import \"$image\"; done";
        node.sh(load).await;
        node
    }

    /// Runs what an operator types, as root and in its home. Returns what it wrote.
    pub(super) async fn sh(&self, text: &str) -> String {
        let (code, said) = self.try_sh(text).await;
        assert_eq!(code, 0, "{}: {text}\n{said}", self.name);
        said
    }

    /// The same for a command that may fail: its exit code too.
    pub(super) async fn try_sh(&self, text: &str) -> (i32, String) {
        let profile = "export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/srv/home \
                       KUBECONFIG=/etc/kubernetes/admin.conf";
        let text = format!("{profile}; cd {HOME}; {text}");
        let command = ["bash", "-euo", "pipefail", "-c", &text];
        let output = self.machine.run_within(COMMAND_LIMIT, &command).await;
        (output.code, output.text)
    }

    /// Waits until the command succeeds; what it wrote then.
    pub(super) async fn until(&self, what: &str, text: &str) -> String {
        wait::until(what, LIMIT, async || {
            let (code, said) = self.try_sh(text).await;
            (code == 0).then_some(said)
        })
        .await
    }

    /// What kube-apiserver says of itself.
    pub(super) async fn readyz(&self) -> Option<u16> {
        let ca = std::fs::read(self.machine.path("/etc/kubernetes/pki/ca.crt")).ok()?;
        let url = format!("https://{}:{PORT}/readyz", self.address);
        let request = Request {
            method: "GET",
            url: &url,
            credential: None,
            ca_pem: Some(&ca),
        };
        http::text(request, None).await.ok().map(|(code, _)| code)
    }

    /// Waits until kube-apiserver is ready.
    pub(super) async fn ready(&self) {
        let what = format!("kube-apiserver of {} to be ready", self.name);
        wait::until_true(&what, LIMIT, async || self.readyz().await == Some(200)).await;
    }
}
