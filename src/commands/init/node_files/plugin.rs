//! The plugin on the node: the manifest and the units of the repository, with the paths of this
//! installation.

use super::super::answers::{Answers, SOCKET, SOCKET_DIR};
use super::super::output::OutputFile;
use super::super::platform::Platform;

/// The manifest of the static pod.
const MANIFEST: &str = include_str!("../../../../deploy/static-pod/vault-kms-plugin.yaml");
/// The unit.
pub(in crate::commands) const SERVICE: &str =
    include_str!("../../../../systemd/vault-kms-plugin.service");
/// The unit of the socket.
pub(in crate::commands) const SOCKET_UNIT: &str =
    include_str!("../../../../systemd/vault-kms-plugin.socket");
/// The user of the plugin.
const SYSUSERS: &str = include_str!("../../../../systemd/sysusers.d/vault-kms-plugin.conf");
/// Its directories.
pub(in crate::commands) const TMPFILES: &str =
    include_str!("../../../../systemd/tmpfiles.d/vault-kms-plugin.conf");
/// Where the unit of the repository has the program.
pub(in crate::commands) const PROGRAM: &str = "/usr/local/bin/vault-kms-plugin";

pub(super) fn files(answers: &Answers) -> Vec<OutputFile> {
    if answers.platform.is_pod() {
        let text = manifest(answers);
        return vec![OutputFile::new(
            "vault-kms-plugin.yaml",
            "the static pod of the plugin",
            text,
        )];
    }
    let service = SERVICE.replace(PROGRAM, &answers.program);
    let mut socket = SOCKET_UNIT.replace(SOCKET, &answers.socket);
    if answers.platform == Platform::K0s {
        // k0s runs kube-apiserver as a user of this name.
        socket = socket
            .replace("SocketUser=vault-kms-plugin", "SocketUser=kube-apiserver")
            .replace("SocketMode=0600", "SocketMode=0660");
    }
    units(service, socket, TMPFILES.to_owned())
}

/// The files of an installation as a unit.
pub(in crate::commands) fn units(
    service: String,
    socket: String,
    tmpfiles: String,
) -> Vec<OutputFile> {
    vec![
        OutputFile::new(
            "vault-kms-plugin.service",
            "the unit of the plugin",
            service,
        ),
        OutputFile::new("vault-kms-plugin.socket", "the unit of its socket", socket),
        OutputFile::new(
            "sysusers.conf",
            "the user of the plugin, for /etc/sysusers.d",
            SYSUSERS.to_owned(),
        ),
        OutputFile::new(
            "tmpfiles.conf",
            "its directories, for /etc/tmpfiles.d",
            tmpfiles,
        ),
    ]
}

fn manifest(answers: &Answers) -> String {
    pod(&answers.socket, answers.socket_dir(), &answers.image)
}

/// The manifest of the static pod. The path of the socket contains that of its directory, and so is replaced first.
pub(in crate::commands) fn pod(socket: &str, socket_dir: &str, image: &str) -> String {
    const PLACEHOLDER: &str = "\0";
    MANIFEST
        .replace(SOCKET, PLACEHOLDER)
        .replace(SOCKET_DIR, socket_dir)
        .replace(PLACEHOLDER, socket)
        .replace(
            "image: localhost/vault-kms-plugin:0.1.0",
            &format!("image: {image}"),
        )
}
