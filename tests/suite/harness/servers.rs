//! Where the programs come from that the tests run: installed ones, or ones built on first use.
//!
//! A real server is taken from its environment variable, else from PATH, else it is built from the
//! Go module that `tests/servers/` pins and kept under `target/servers/`.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

#[path = "servers/building.rs"]
mod building;
#[path = "servers/conformance.rs"]
mod conformance;
#[path = "servers/go.rs"]
mod go;

pub use conformance::{conformance, encryption_config, no_proxy, pause, stored_values};

use go::Recipe;

/// A real server, or a tool that goes with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Vault, or OpenBao.
    Vault,
    /// Kubernetes' API server.
    KubeApiserver,
    /// What it stores its objects in.
    Etcd,
    /// etcd's client, for snapshots of a running server.
    Etcdctl,
    /// The tool that restores them.
    Etcdutl,
    /// What Prometheus checks metrics and rules with.
    Promtool,
    /// What runs the pods of a node.
    Kubelet,
    /// What makes control planes.
    Kubeadm,
    /// Kubernetes' command line.
    Kubectl,
    /// A part of the control plane.
    KubeControllerManager,
    /// Another one.
    KubeScheduler,
    /// What an operator sees containers with when kube-apiserver is down.
    Crictl,
}

impl Server {
    /// What its program is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::KubeApiserver => "kube-apiserver",
            Self::Etcd => "etcd",
            Self::Etcdctl => "etcdctl",
            Self::Etcdutl => "etcdutl",
            Self::Promtool => "promtool",
            Self::Kubelet => "kubelet",
            Self::Kubeadm => "kubeadm",
            Self::Kubectl => "kubectl",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Crictl => "crictl",
        }
    }

    /// Where `tests/servers/` pins it.
    fn pins(self) -> &'static str {
        if self.package().starts_with("k8s.io/kubernetes/") {
            "kubernetes"
        } else {
            self.name()
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::Vault => "VAULT_BIN",
            Self::KubeApiserver => "KUBE_APISERVER_BIN",
            Self::Etcd => "ETCD_BIN",
            Self::Etcdctl => "ETCDCTL_BIN",
            Self::Etcdutl => "ETCDUTL_BIN",
            Self::Promtool => "PROMTOOL_BIN",
            Self::Kubelet => "KUBELET_BIN",
            Self::Kubeadm => "KUBEADM_BIN",
            Self::Kubectl => "KUBECTL_BIN",
            Self::KubeControllerManager => "KUBE_CONTROLLER_MANAGER_BIN",
            Self::KubeScheduler => "KUBE_SCHEDULER_BIN",
            Self::Crictl => "CRICTL_BIN",
        }
    }

    fn installed_as(self) -> &'static [&'static str] {
        match self {
            Self::Vault => &["vault", "bao"],
            Self::KubeApiserver => &["kube-apiserver"],
            Self::Etcd => &["etcd"],
            Self::Etcdctl => &["etcdctl"],
            Self::Etcdutl => &["etcdutl"],
            Self::Promtool => &["promtool"],
            Self::Kubectl => &["kubectl"],
            Self::Crictl => &["crictl"],
            // Their versions have to match.
            Self::Kubelet | Self::Kubeadm | Self::KubeControllerManager | Self::KubeScheduler => {
                &[]
            }
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Vault => "github.com/hashicorp/vault",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::Etcdctl => "go.etcd.io/etcd/etcdctl/v3",
            Self::Etcdutl => "go.etcd.io/etcd/etcdutl/v3",
            Self::Promtool => "github.com/prometheus/prometheus/cmd/promtool",
            Self::Kubelet => "k8s.io/kubernetes/cmd/kubelet",
            Self::Kubeadm => "k8s.io/kubernetes/cmd/kubeadm",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::KubeScheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::Crictl => "sigs.k8s.io/cri-tools/cmd/crictl",
        }
    }

    /// What is left out of it to be built in less time.
    fn tags(self) -> &'static str {
        match self {
            Self::Promtool => "-tags=remove_all_sd",
            _ => "-tags=",
        }
    }

    /// What else the linker puts into it: without a version that they can read, kubeadm and kubelet refuse
    /// each other.
    fn version(self) -> String {
        if self.pins() != "kubernetes" {
            return String::new();
        }
        let [major, minor, _] = KUBERNETES.split('.').collect::<Vec<_>>()[..] else {
            unreachable!("it has three numbers");
        };
        format!(
            " -X k8s.io/component-base/version.gitVersion=v{KUBERNETES} \
             -X k8s.io/component-base/version.gitMajor={major} \
             -X k8s.io/component-base/version.gitMinor={minor}"
        )
    }
}

/// The release that tests/servers/kubernetes/go.mod pins.
pub const KUBERNETES: &str = "1.37.2";

/// The program of `server`; built first if it has to be, which takes minutes once.
pub fn binary(server: Server) -> PathBuf {
    if let Some(given) = env::var_os(server.variable()) {
        let path = PathBuf::from(given);
        assert!(
            path.is_file(),
            "{} names no file: {}",
            server.variable(),
            path.display()
        );
        return path;
    }
    installed(server).unwrap_or_else(|| built(server))
}

/// A directory in which the program of `server` has its own name, for whoever types that.
pub fn with_its_name(server: Server) -> PathBuf {
    let program = binary(server);
    let stem = program.file_name().expect("a program has a name");
    let dir = servers_dir().join("named").join(stem);
    fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    // Another test may have made it.
    let _ = std::os::unix::fs::symlink(&program, dir.join(server.name()));
    dir
}

fn installed(server: Server) -> Option<PathBuf> {
    let mut names = server.installed_as().iter();
    names.find_map(|name| on_path(name))
}

/// Whether `server` is installed, or can be built.
pub fn is_available(server: Server) -> bool {
    env::var_os(server.variable()).is_some()
        || installed(server).is_some()
        || on_path("go").is_some()
}

/// Whether the Vault of this run is OpenBao, which only an installed one can be.
pub fn is_openbao() -> bool {
    let given = env::var_os(Server::Vault.variable()).map(PathBuf::from);
    let Some(program) = given.or_else(|| installed(Server::Vault)) else {
        return false;
    };
    let version = Command::new(program).arg("version").output();
    version.is_ok_and(|version| version.stdout.starts_with(b"OpenBao "))
}

/// The daemon as it is shipped (profile `dist`), built once per process. In a directory of its own:
/// cargo would otherwise lock the one that the tests are built in.
pub fn release_daemon() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build_daemon).clone()
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    let default = || OsString::from("target");
    manifest_dir().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(default))
}

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program of this name on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

fn built(server: Server) -> PathBuf {
    let name = server.name();
    let pins = manifest_dir().join("tests/servers").join(server.pins());
    let recipe = Recipe {
        name: name.to_owned(),
        made_of: vec![pins.join("go.mod")],
        dir: pins,
        linked_in: server.version(),
        arguments: vec![server.tags().into(), server.package().into()],
        remedy: format!(
            "set {} to one, put one on PATH ({}), or install Go 1.26 or later to have it built \
             from tests/servers/{}",
            server.variable(),
            server.installed_as().join(" or "),
            server.pins(),
        ),
    };
    recipe.program()
}

fn build_daemon() -> PathBuf {
    let _lock = lock(&servers_dir().join("release-daemon.lock"));
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--profile",
        "dist",
        "--bin",
        "vault-kms-plugin",
        // Without what the operator's program alone depends on.
        "--no-default-features",
        "--features",
        "jemalloc",
        "--target-dir",
    ]);
    let dir = target_dir().join("shipped");
    command.arg(&dir).current_dir(manifest_dir());
    // What cargo tells a test or a benchmark about its package would make build scripts run again
    // (ring's does).
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let of_this_package = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
            "OUT_DIR",
        ];
        if of_this_package
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    building::run("vault-kms-plugin (dist)", &mut command);
    dir.join("dist/vault-kms-plugin")
}

fn servers_dir() -> PathBuf {
    let dir = target_dir().join("servers");
    fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    dir
}

/// Held by whoever builds; the others wait here and then find the program.
fn lock(path: &Path) -> File {
    let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.lock()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file
}

fn short_hash(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
