//! What the tests begin with: Vault behind TLS, the files that `init` wrote, and nodes without a control plane.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::documents::markdown::Page;
use super::super::harness::listener::Listener;
use super::super::harness::operator;
use super::super::harness::servers::{KUBERNETES, Server, binary};
use super::super::harness::vault::Vault;
use super::images::ETCD;
use super::network::{CONTROL_PLANE, Network, PORT, VAULT};
use super::node::{HOME, Node};

/// What a machine of the tests is not, or has not, that kubeadm looks for.
const INIT: &str = "--ignore-preflight-errors=all --skip-phases=addon/coredns,addon/kube-proxy";
/// The same for a node that joins.
const JOIN: &str = "--ignore-preflight-errors=all";

/// The page that the tests follow.
pub(super) fn page() -> Page {
    docs("install/kubeadm.md")
}

pub(super) fn docs(name: &str) -> Page {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    Page::read(&docs.join(name))
}

/// Several nodes, and the workstation of their operator.
pub(super) struct Site {
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network,
    workstation: TempDir,
}

impl Site {
    /// Nodes that know Vault by this URL, with the operator's files in their home.
    pub(super) async fn new(network: Network, vault: &Vault, address: &str, nodes: usize) -> Self {
        let workstation = tempfile::tempdir().unwrap();
        let mut site = Self {
            nodes: Vec::new(),
            network,
            workstation,
        };
        site.write_files(vault, address).await;
        for index in 0..nodes {
            let node = Node::boot(&site.network, index).await;
            site.bring(vault, &node).await;
            site.nodes.push(node);
        }
        site
    }

    fn home(&self) -> &Path {
        self.workstation.path()
    }

    /// The page's section for the workstation.
    async fn write_files(&self, vault: &Vault, address: &str) {
        let bin = self.home().join("bin");
        fs::create_dir(&bin).unwrap();
        let programs = [
            (
                "vault-kms-plugin",
                PathBuf::from(env!("CARGO_BIN_EXE_vault-kms-plugin")),
            ),
            ("vault", binary(Server::Vault)),
        ];
        for (name, program) in programs {
            std::os::unix::fs::symlink(program, bin.join(name)).unwrap();
        }
        for block in page().blocks("Files", "sh") {
            let block = block.replace("https://vault.example:8200", address);
            operator::run(self.home(), &block, &variables(vault)).await;
        }
    }

    /// Copies the files to a node, with a token of its own.
    async fn bring(&self, vault: &Vault, node: &Node) {
        let files = "vault-kms-plugin-files";
        let create = format!("sh {files}/vault-setup.sh node {}", node.name);
        operator::run(self.home(), &create, &variables(vault)).await;
        let token = format!("{files}/nodes/{}/token", node.name);
        let home = node.machine.path(HOME);
        fs::copy(self.home().join(token), home.join("vault-kms-plugin.token")).unwrap();
        fs::write(home.join("ca.pem"), self.network.ca_pem()).unwrap();
        let to = home.join(files);
        fs::create_dir(&to).unwrap();
        for file in fs::read_dir(self.home().join(files)).unwrap() {
            let file = file.unwrap();
            if file.file_name() != "nodes" {
                fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
    }
}

fn variables(vault: &Vault) -> Vec<(String, String)> {
    let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        of("VAULT_ADDR", &vault.address()),
        of("VAULT_TOKEN", vault.root_token()),
    ]
}

/// Vault where the nodes find it: `https://vault.example:8200`.
pub(super) fn vault_for(network: &Network, vault: &Vault) -> Listener {
    network.vault(8200, vault.socket_address())
}

/// That URL.
pub(super) fn vault_url() -> String {
    format!("https://{VAULT}:8200")
}

impl Node {
    /// Runs the page's blocks of a section for a node, word for word but for these.
    pub(super) async fn follow(&self, section: &str, words: &[(&str, &str)]) -> String {
        let mut said = String::new();
        for block in page().blocks(section, "sh") {
            let block = words
                .iter()
                .fold(block, |text, (from, to)| text.replace(from, to));
            said.push_str(&self.sh(&block).await);
        }
        said
    }

    /// The plugin where no kubelet runs yet, so that nothing can be waited for.
    pub(super) async fn install_plugin(&self) {
        self.sh(&page().blocks("Plugin", "sh")[0]).await;
    }

    /// Makes a control plane, whose ClusterConfiguration ends with this.
    pub(super) async fn init(&self, api_server: &str) {
        self.machine.write(
            &format!("{HOME}/kubeadm.yaml"),
            &configuration(self, api_server),
        );
        self.follow(
            "New cluster",
            &[(
                "--ignore-preflight-errors=DirAvailable--etc-kubernetes-manifests",
                INIT,
            )],
        )
        .await;
        self.ready().await;
    }
}

impl Site {
    /// A control plane of all nodes, as kubeadm makes it without anything of ours.
    pub(super) async fn make_control_plane(&self) {
        let [first, others @ ..] = &self.nodes[..] else {
            unreachable!("there are nodes");
        };
        let config = configuration(first, "apiServer: {}");
        first
            .machine
            .write(&format!("{HOME}/kubeadm.yaml"), &config);
        first
            .sh(&format!("kubeadm init --config kubeadm.yaml {INIT}"))
            .await;
        first.ready().await;
        let key = first.sh("kubeadm certs certificate-key").await;
        let key = key.trim();
        first
            .sh(&format!(
                "kubeadm init phase upload-certs --upload-certs --certificate-key {key}"
            ))
            .await;
        let join = first
            .sh("kubeadm token create --print-join-command 2>/dev/null")
            .await;
        for node in others {
            node.sh(&format!(
                "{} --control-plane --certificate-key {key} {JOIN}",
                join.trim()
            ))
            .await;
            node.ready().await;
        }
    }
}

/// The operator's `kubeadm.yaml`.
pub(super) fn configuration(node: &Node, api_server: &str) -> String {
    format!(
        r#"apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{ advertiseAddress: "{address}" }}
nodeRegistration: {{ imagePullPolicy: Never, taints: [] }}
timeouts: {{ controlPlaneComponentHealthCheck: 4m, kubernetesAPICall: 3m }}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v{KUBERNETES}
imageRepository: localhost
controlPlaneEndpoint: "{CONTROL_PLANE}:{PORT}"
etcd: {{ local: {{ imageTag: {ETCD} }} }}
{api_server}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
cgroupsPerQOS: false
enforceNodeAllocatable: ["none"]
localStorageCapacityIsolation: false
"#,
        address = node.address
    )
}
