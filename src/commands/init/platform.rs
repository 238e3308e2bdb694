//! What starts kube-apiserver, and the plugin beside it.
//!
//! A platform is here if its files differ from those of the others: kind is kubeadm; Talos, OpenShift and
//! hosted control planes have pages in docs/install that begin with the files of one of these.

use clap::ValueEnum;

/// What starts kube-apiserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Platform {
    /// A systemd unit on the host, for any kube-apiserver.
    Systemd,
    /// A static pod, for a kube-apiserver that is one.
    StaticPod,
    /// kubeadm, and what is built on it, such as kind: a static pod.
    Kubeadm,
    /// k3s, with a systemd unit.
    K3s,
    /// RKE2, with a systemd unit.
    Rke2,
    /// k0s, with a systemd unit.
    K0s,
}

/// The version of kubeadm's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KubeadmApi {
    /// Kubernetes 1.31 and later.
    V1beta4,
    /// Kubernetes 1.30 and earlier.
    V1beta3,
}

impl Platform {
    /// Whether the plugin is a static pod.
    pub(super) fn is_pod(self) -> bool {
        matches!(self, Self::StaticPod | Self::Kubeadm)
    }

    /// Whether the plugin is a unit of systemd.
    pub(super) fn has_unit(self) -> bool {
        !self.is_pod()
    }

    /// kube-apiserver's EncryptionConfiguration on a node.
    pub(super) fn encryption_config(self) -> &'static str {
        match self {
            Self::Systemd | Self::StaticPod | Self::Kubeadm => {
                "/etc/kubernetes/enc/encryption.yaml"
            }
            Self::K3s => "/etc/rancher/k3s/enc/encryption.yaml",
            Self::Rke2 => "/etc/rancher/rke2/enc/encryption.yaml",
            Self::K0s => "/etc/k0s/enc/encryption.yaml",
        }
    }

    /// The page that describes it.
    pub(super) fn page(self) -> &'static str {
        match self {
            Self::Systemd => "docs/install/hosts.md",
            Self::StaticPod => "docs/install/static-pod.md",
            Self::Kubeadm => "docs/install/kubeadm.md",
            Self::K3s => "docs/install/k3s.md",
            Self::Rke2 => "docs/install/rke2.md",
            Self::K0s => "docs/install/k0s.md",
        }
    }
}
