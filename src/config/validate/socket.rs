//! `[socket]`, and `state.dir`, which follows the socket by default.

use std::path::PathBuf;

use nix::unistd::{Group, User, geteuid};

use crate::config::raw::{self, RawValue};
use crate::config::reader::Reader;
use crate::diagnosis::Diagnosis;
use crate::grpc::{AllowedPeers, SocketPath, SocketSettings};
use crate::system::socket_file::SocketPermissions;

/// The directory that systemd makes for a service of this name.
const DEFAULT_SOCKET: &str = "/run/vault-kms-plugin/kms.sock";
/// Only the plugin's user, and root, may connect.
const DEFAULT_SOCKET_MODE: u32 = 0o600;
/// `sockaddr_un` has 108 bytes, with the terminating zero.
const MAX_SOCKET_PATH_BYTES: usize = 107;
/// `nobody`: unmapped users of other user namespaces appear as it, so it identifies nobody.
const NOBODY: u32 = 65534;

pub(super) fn socket(
    reader: &mut Reader,
    raw: raw::Socket,
) -> (Option<SocketSettings>, AllowedPeers) {
    let before = reader.errors.len();
    let path = reader.parsed("socket.path", raw.path, socket_path);
    let mode = reader.parsed("socket.mode", raw.mode, socket_mode);
    let owner = reader.parsed("socket.owner", raw.owner, |name| {
        id_of(name, |name| {
            Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
        })
    });
    let group = reader.parsed("socket.group", raw.group, |name| {
        id_of(name, |name| {
            Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
        })
    });
    let uids = allow_list(reader, "socket.allow_uids", raw.allow_uids);
    let gids = allow_list(reader, "socket.allow_gids", raw.allow_gids);
    let settings = SocketSettings {
        path: path.unwrap_or_else(|| SocketPath::File(DEFAULT_SOCKET.into())),
        permissions: SocketPermissions {
            mode: mode.unwrap_or(DEFAULT_SOCKET_MODE),
            owner,
            group,
        },
    };
    let peers = AllowedPeers {
        // kube-apiserver runs as root on nearly every control plane.
        uids: uids.unwrap_or_else(|| vec![0, geteuid().as_raw()]),
        gids: gids.unwrap_or_default(),
    };
    ((reader.errors.len() == before).then_some(settings), peers)
}

fn socket_path(text: &str) -> Result<SocketPath, String> {
    if text.len() > MAX_SOCKET_PATH_BYTES {
        return Err(format!(
            "is longer than {MAX_SOCKET_PATH_BYTES} bytes, the limit for a socket's path"
        ));
    }
    match text.strip_prefix('@') {
        Some("") => Err("must be @name for an abstract socket".to_owned()),
        Some(name) => Ok(SocketPath::Abstract(name.to_owned())),
        None if text.starts_with('/') && !text.ends_with('/') => Ok(SocketPath::File(text.into())),
        None => Err(format!("must be an absolute path or @name, not {text:?}")),
    }
}

fn socket_mode(text: &str) -> Result<u32, Diagnosis> {
    const REMEDY: &str = "use \"0600\" or \"0660\"";
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode & 0o002 != 0 => {
            let cause = format!("{text} lets every local process decrypt");
            Err(Diagnosis::new(cause).with_remedy(REMEDY))
        }
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err(Diagnosis::new(format!("{text:?} is not a mode")).with_remedy(REMEDY)),
    }
}

fn id_of(
    name: &str,
    look_up: impl Fn(&str) -> Result<Option<u32>, nix::Error>,
) -> Result<u32, String> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    match look_up(name) {
        Ok(Some(id)) => Ok(id),
        Ok(None) => Err(format!("{name:?} does not exist on this machine")),
        Err(error) => Err(format!("{name:?} cannot be looked up: {error}")),
    }
}

fn allow_list(reader: &mut Reader, key: &str, value: RawValue) -> Option<Vec<u32>> {
    let ids = reader.numbers(key, value)?;
    if ids.contains(&NOBODY) {
        let cause = format!(
            "{NOBODY} (nobody) cannot be allowed: unmapped users of other user namespaces appear as it"
        );
        reader.error(key, cause);
    }
    Some(ids)
}

/// The state file. It is named after the socket, so that two plugins can share a directory.
pub(super) fn state_file(
    reader: &mut Reader,
    dir: RawValue,
    socket: Option<&SocketSettings>,
) -> Option<PathBuf> {
    let dir = reader.path("state.dir", dir);
    let (dir, mut name) = match (&socket?.path, dir) {
        (SocketPath::File(path), dir) => {
            let dir = dir.or_else(|| path.parent().map(PathBuf::from))?;
            (dir, path.file_name()?.to_owned())
        }
        (SocketPath::Abstract(name), Some(dir)) => (dir, abstract_name(name).into()),
        (SocketPath::Abstract(_), None) => {
            reader.missing(
                "state.dir",
                "name a directory for the state file: an abstract socket has none",
            );
            return None;
        }
    };
    name.push(".state.json");
    Some(dir.join(name))
}

/// The name of an abstract socket as a file name: different for each.
fn abstract_name(name: &str) -> String {
    format!("@{}", name.replace('%', "%25").replace('/', "%2F"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_file_of(socket: &str) -> PathBuf {
        let settings = SocketSettings {
            path: socket_path(socket).expect("valid"),
            permissions: SocketPermissions {
                mode: DEFAULT_SOCKET_MODE,
                owner: None,
                group: None,
            },
        };
        let dir = Some("/state".into());
        state_file(&mut Reader::default(), dir, Some(&settings)).expect("a file")
    }

    #[test]
    fn sockets_with_different_names_have_different_state_files() {
        let sockets = [
            "/run/kms.blue",
            "/run/kms.green",
            "/run/kms",
            "@kms",
            "@a/b",
            "@a_b",
            "@a%2Fb",
        ];
        let files = sockets.map(state_file_of);
        assert_eq!(files[0], PathBuf::from("/state/kms.blue.state.json"));
        for (index, file) in files.iter().enumerate() {
            assert!(!files[..index].contains(file), "{}", file.display());
        }
    }
}
