//! Where the files of a container are on the node: there the new unit or pod finds them at the same path.

use std::path::{Path, PathBuf};

use crate::drop_in::{Note, Translation, Value};

/// What a container sees at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) path: PathBuf,
    pub(super) volume: Volume,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Volume {
    /// A path of the node.
    Host(PathBuf),
    /// Something that kubelet makes for a pod of the API, of this kind.
    Other(String),
}

/// The keys whose values are paths.
const PATHS: [&str; 10] = [
    "socket.path",
    "vault.ca_file",
    "vault.ca_dir",
    "vault.client_cert_file",
    "vault.client_key_file",
    "auth.jwt_file",
    "auth.token_file",
    "auth.secret_id_file",
    "auth.password_file",
    "auth.cert_file",
];
/// Where kubelet puts the tokens of service accounts.
const OF_KUBELET: &str = "/var/run/secrets";

/// Replaces the paths of a container by those of the node. What is not there becomes a note.
pub(super) fn to_host(translation: &mut Translation, mounts: &Option<Vec<Mount>>) {
    let mut notes = Vec::new();
    for value in &mut translation.values {
        let is_path = PATHS.contains(&value.key) || value.key == "auth.key_file";
        if !is_path || !value.text.starts_with('/') {
            continue;
        }
        match mounts {
            Some(mounts) => notes.extend(replace(value, mounts)),
            None if value.text.starts_with(OF_KUBELET) => notes.push(only_in_pods(value)),
            None => {}
        }
    }
    translation.notes.extend(notes);
}

fn replace(value: &mut Value, mounts: &[Mount]) -> Option<Note> {
    let path = Path::new(&value.text);
    let fitting = mounts.iter().filter(|mount| path.starts_with(&mount.path));
    let mount = fitting.max_by_key(|mount| mount.path.components().count());
    match mount.map(|mount| (&mount.volume, &mount.path)) {
        Some((Volume::Host(host), at)) => {
            let below = path.strip_prefix(at).unwrap_or(Path::new(""));
            let on_node = if below.as_os_str().is_empty() {
                host.clone()
            } else {
                host.join(below)
            };
            value.text = on_node.display().to_string();
            None
        }
        Some((Volume::Other(_), _)) => Some(only_in_pods(value)),
        None if value.text.starts_with(OF_KUBELET) => Some(only_in_pods(value)),
        None => {
            let text = format!(
                "{} was in the image or in the container alone: the same path is used on the node, where it has to exist \
                 ({})",
                value.text, value.key
            );
            Some(note(value, text))
        }
    }
}

/// A token of a service account, or a Secret of the API.
fn only_in_pods(value: &Value) -> Note {
    let text = format!(
        "{} is made by kubelet for a pod of the API, and neither a unit nor a static pod has it: let another program \
         write the credential there, or choose another login in [auth] (docs/authentication.md)",
        value.text
    );
    note(value, text)
}

fn note(value: &Value, text: String) -> Note {
    Note {
        setting: value.origin.to_owned(),
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(path: &str, mounts: Option<Vec<Mount>>) -> (String, usize) {
        let mut translation = Translation::default();
        translation.values.push(Value {
            key: "auth.jwt_file",
            text: path.to_owned(),
            origin: "-x",
        });
        to_host(&mut translation, &mounts);
        (translation.values[0].text.clone(), translation.notes.len())
    }

    #[test]
    fn the_longest_mount_counts_and_what_is_no_path_of_the_node_is_a_note() {
        let mount = |path: &str, volume| Mount {
            path: path.into(),
            volume,
        };
        let mounts = Some(vec![
            mount("/a", Volume::Host("/host".into())),
            mount("/a/b", Volume::Other("projected".to_owned())),
            mount("/file", Volume::Host("/etc/file".into())),
        ]);
        assert_eq!(
            converted("/a/jwt", mounts.clone()),
            ("/host/jwt".to_owned(), 0)
        );
        assert_eq!(
            converted("/a/b/jwt", mounts.clone()),
            ("/a/b/jwt".to_owned(), 1)
        );
        assert_eq!(
            converted("/file", mounts.clone()),
            ("/etc/file".to_owned(), 0)
        );
        assert_eq!(
            converted("/image/jwt", mounts),
            ("/image/jwt".to_owned(), 1)
        );
        assert_eq!(converted("/etc/jwt", None), ("/etc/jwt".to_owned(), 0));
        assert_eq!(converted("/var/run/secrets/x", None).1, 1);
    }
}
