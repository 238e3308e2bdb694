//! The unit or the manifest: those of this repository, at the paths of the converted plugin.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::environment::{self, Variable};
use super::place::Place;
use crate::cli::Runs;
use crate::commands::init::node_files::{self, PROGRAM, SERVICE, SOCKET_UNIT, TMPFILES};
use crate::commands::init::output::OutputFile;
use crate::drop_in::Translation;

/// The paths of the repository's files.
const SOCKET: &str = "/run/vault-kms-plugin/kms.sock";
const SOCKET_DIR: &str = "/run/vault-kms-plugin";
const INSTALL_DIR: &str = "/etc/vault-kms-plugin";
/// Where the mounts and the volumes of the manifest end, and begin.
const VOLUMES: &str = "\n  volumes:\n";
/// What follows the command of the container.
const SECURITY: &str = "      securityContext:\n        runAsUser: 0\n";
/// The keys whose values are files that the pod has to see.
const FILES: [&str; 10] = [
    "vault.ca_file",
    "vault.client_cert_file",
    "vault.client_key_file",
    "auth.token_file",
    "auth.jwt_file",
    "auth.secret_id_file",
    "auth.role_id_file",
    "auth.password_file",
    "auth.cert_file",
    "auth.key_file",
];

/// The files for the place.
pub(super) fn files(
    place: &Place,
    translation: &Translation,
    variables: &[Variable],
) -> Vec<OutputFile> {
    let value = |key: &str| translation.value(key).map(|it| it.text.as_str());
    let socket = value("socket.path").unwrap_or(SOCKET);
    match place.runs {
        Runs::StaticPod => {
            let mut text = manifest(place, socket, translation);
            if !variables.is_empty() {
                let env = environment::of_container(variables);
                text = text.replacen(SECURITY, &format!("{env}{SECURITY}"), 1);
            }
            vec![OutputFile::new(
                "vault-kms-plugin.yaml",
                "the static pod of the plugin",
                text,
            )]
        }
        Runs::Systemd => {
            let install_dir = place.install_dir.display().to_string();
            let service = SERVICE
                .replace(PROGRAM, &place.program)
                .replace(INSTALL_DIR, &install_dir);
            let mut unit = SOCKET_UNIT.replace(SOCKET, socket);
            if let Some(mode) = value("socket.mode") {
                unit = unit.replace("SocketMode=0600", &format!("SocketMode={mode}"));
            }
            if let Some(group) = value("socket.group") {
                unit = unit.replace(
                    "SocketGroup=vault-kms-plugin",
                    &format!("SocketGroup={group}"),
                );
            }
            let tmpfiles = TMPFILES.replace(INSTALL_DIR, &install_dir);
            let mut files = node_files::units(service, unit, tmpfiles);
            if !variables.is_empty() {
                files.push(OutputFile::new(
                    "environment",
                    "variables of the unit, which may hold the password of a proxy",
                    environment::file(variables),
                ));
            }
            files
        }
    }
}

fn manifest(place: &Place, socket: &str, translation: &Translation) -> String {
    let dir = match socket.rsplit_once('/') {
        Some((dir, _)) if !socket.starts_with('@') => dir,
        _ => SOCKET_DIR,
    };
    let install_dir = place.install_dir.display().to_string();
    let text = node_files::pod(socket, dir, &place.image).replace(INSTALL_DIR, &install_dir);
    let (mut mounts, mut volumes) = (String::new(), String::new());
    let directories = directories(place, Path::new(dir), translation);
    for (number, dir) in directories.into_iter().enumerate() {
        let path = serde_json::Value::from(dir.display().to_string());
        mounts.push_str(&format!(
            "\n        - name: files-{number}\n          mountPath: {path}\n          readOnly: true"
        ));
        volumes.push_str(&format!(
            "    - name: files-{number}\n      hostPath:\n        path: {path}\n        type: Directory\n"
        ));
    }
    let text = text.replacen(VOLUMES, &format!("{mounts}{VOLUMES}"), 1);
    format!("{}\n{volumes}", text.trim_end_matches('\n'))
}

/// The directories of the files that are neither beside the configuration nor beside the socket, which are mounted already:
/// a file that is replaced is another one, so that it is not mounted itself.
fn directories(place: &Place, socket: &Path, translation: &Translation) -> BTreeSet<PathBuf> {
    let values = translation.values.iter();
    let dirs = values.filter_map(|value| {
        let path = Path::new(&value.text);
        if value.key == "vault.ca_dir" {
            return Some(path.to_owned());
        }
        let is_file = FILES.contains(&value.key);
        path.parent().filter(|_| is_file).map(Path::to_owned)
    });
    dirs.filter(|dir| !dir.starts_with(&place.install_dir) && dir != socket)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drop_in::Value;

    #[test]
    fn each_directory_is_mounted_once() {
        let value = |key, text: &str| Value {
            key,
            text: text.to_owned(),
            origin: "-x",
        };
        let translation = Translation {
            values: vec![
                value("socket.path", "/opt/kms/kms.sock"),
                value("vault.ca_file", "/opt/kms/ca.pem"),
                value("auth.cert_file", "/opt/keys/node.pem"),
                value("auth.key_file", "/opt/keys/node.key"),
            ],
            ..Translation::default()
        };
        let place = Place {
            runs: Runs::StaticPod,
            install_dir: "/etc/vault-kms-plugin".into(),
            image: "image".to_owned(),
            program: String::new(),
        };
        let text = manifest(&place, "/opt/kms/kms.sock", &translation);
        for mount in ["mountPath: /opt/kms\n", "mountPath: \"/opt/keys\"\n"] {
            assert_eq!(text.matches(mount).count(), 1, "{mount}{text}");
        }
        assert!(!text.contains("mountPath: \"/opt/kms\""), "{text}");
    }
}
