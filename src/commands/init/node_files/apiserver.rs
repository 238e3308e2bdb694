//! The part of the platform's configuration that gives kube-apiserver its EncryptionConfiguration, and the
//! directory of the socket where it runs in a pod.
//!
//! The paths have no character that means something in YAML: see `text::plain_path`.

use super::super::answers::Answers;
use super::super::output::OutputFile;
use super::super::platform::{KubeadmApi, Platform};

const FLAG: &str = "encryption-provider-config";
const RELOAD: &str = "encryption-provider-config-automatic-reload";

pub(super) fn file(answers: &Answers) -> OutputFile {
    let (name, about, text) = match answers.platform {
        Platform::Systemd => (
            "kube-apiserver-flags.txt",
            "the flags of kube-apiserver",
            flags(answers),
        ),
        Platform::StaticPod => (
            "kube-apiserver.yaml",
            "flags, mounts and volumes for the manifest of kube-apiserver",
            pod(answers),
        ),
        Platform::Kubeadm => (
            "kubeadm-apiserver.yaml",
            "the part of kubeadm's ClusterConfiguration",
            kubeadm(answers),
        ),
        Platform::K3s => (
            "k3s-config.yaml",
            "for /etc/rancher/k3s/config.yaml.d",
            rancher(answers),
        ),
        Platform::Rke2 => (
            "rke2-config.yaml",
            "for /etc/rancher/rke2/config.yaml.d",
            rancher(answers),
        ),
        Platform::K0s => (
            "k0s-api.yaml",
            "the part of /etc/k0s/k0s.yaml",
            k0s(answers),
        ),
    };
    OutputFile::new(name, about, text)
}

/// The directory of the EncryptionConfiguration.
fn dir(file: &str) -> &str {
    file.rsplit_once('/').map_or(file, |(dir, _)| dir)
}

fn flags(answers: &Answers) -> String {
    let file = answers.platform.encryption_config();
    format!("--{FLAG}={file}\n--{RELOAD}=true\n")
}

fn pod(answers: &Answers) -> String {
    let file = answers.platform.encryption_config();
    let (enc, socket) = (dir(file), answers.socket_dir());
    format!(
        "# Not a manifest: add these entries to those of /etc/kubernetes/manifests/kube-apiserver.yaml.\n\
         # The directory of the socket, not the socket: a restarted plugin creates a new one.\n\
         spec:\n  containers:\n    - name: kube-apiserver\n      command:\n        \
         - --{FLAG}={file}\n        - --{RELOAD}=true\n      volumeMounts:\n        \
         - {{ name: vault-kms-plugin-socket, mountPath: {socket} }}\n        \
         - {{ name: vault-kms-plugin-enc, mountPath: {enc}, readOnly: true }}\n  volumes:\n    \
         - name: vault-kms-plugin-socket\n      hostPath: {{ path: {socket}, type: DirectoryOrCreate }}\n    \
         - name: vault-kms-plugin-enc\n      hostPath: {{ path: {enc}, type: Directory }}\n"
    )
}

fn kubeadm(answers: &Answers) -> String {
    let file = answers.platform.encryption_config();
    let arguments = match answers.kubeadm_api {
        KubeadmApi::V1beta4 => format!(
            "    - name: {FLAG}\n      value: {file}\n    - name: {RELOAD}\n      value: \"true\"\n"
        ),
        KubeadmApi::V1beta3 => format!("    {FLAG}: {file}\n    {RELOAD}: \"true\"\n"),
    };
    let (enc, socket) = (dir(file), answers.socket_dir());
    format!(
        "apiServer:\n  extraArgs:\n{arguments}  extraVolumes:\n    \
         - name: vault-kms-plugin-socket\n      hostPath: {socket}\n      mountPath: {socket}\n      \
         pathType: DirectoryOrCreate\n    \
         - name: vault-kms-plugin-enc\n      hostPath: {enc}\n      mountPath: {enc}\n      \
         readOnly: true\n      pathType: Directory\n"
    )
}

/// With `+` the entries are added to those of other files.
fn rancher(answers: &Answers) -> String {
    let file = answers.platform.encryption_config();
    let mut text = format!("kube-apiserver-arg+:\n  - {FLAG}={file}\n");
    if answers.platform == Platform::Rke2 {
        // kube-apiserver is a static pod there. RKE2 mounts each file of an argument by itself, of which a
        // running pod does not see the next one: a reload would change nothing.
        let socket = answers.socket_dir();
        text.push_str(&format!(
            "kube-apiserver-extra-mount+:\n  - {socket}:{socket}\n"
        ));
    } else {
        text.push_str(&format!("  - {RELOAD}=true\n"));
    }
    text
}

fn k0s(answers: &Answers) -> String {
    let file = answers.platform.encryption_config();
    format!("spec:\n  api:\n    extraArgs:\n      {FLAG}: {file}\n      {RELOAD}: \"true\"\n")
}
