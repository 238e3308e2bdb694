//! What starts kube-apiserver, and the plugin beside it.
//!
//! A platform is here if its files differ from those of the others: kind is kubeadm; Talos, OpenShift and
//! hosted control planes have pages in docs/install that begin with the files of one of these.

/// What starts kube-apiserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KubeadmApi {
    /// Kubernetes 1.31 and later.
    V1beta4,
    /// Kubernetes 1.30 and earlier.
    V1beta3,
}

/// The platforms, by name.
pub const CHOICES: &[(&str, &str)] = &[
    (
        "systemd",
        "a systemd unit on the host, for any kube-apiserver",
    ),
    (
        "static-pod",
        "a static pod, for a kube-apiserver that is one",
    ),
    (
        "kubeadm",
        "kubeadm, and what is built on it, such as kind: a static pod",
    ),
    ("k3s", "k3s, with a systemd unit"),
    ("rke2", "RKE2, with a systemd unit"),
    ("k0s", "k0s, with a systemd unit"),
];

/// In the order of [`CHOICES`].
const ALL: [Platform; 6] = [
    Platform::Systemd,
    Platform::StaticPod,
    Platform::Kubeadm,
    Platform::K3s,
    Platform::Rke2,
    Platform::K0s,
];

/// The versions of kubeadm's configuration, by name.
pub const KUBEADM_CHOICES: &[(&str, &str)] = &[
    ("v1beta4", "Kubernetes 1.31 and later"),
    ("v1beta3", "Kubernetes 1.30 and earlier"),
];

impl Platform {
    /// The platform of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let is_named = |platform: &Self| CHOICES[*platform as usize].0 == name;
        ALL.into_iter().find(is_named)
    }

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

impl KubeadmApi {
    /// The version of this name.
    pub(super) fn named(name: &str) -> Self {
        if name == KUBEADM_CHOICES[Self::V1beta3 as usize].0 {
            Self::V1beta3
        } else {
            Self::V1beta4
        }
    }
}
