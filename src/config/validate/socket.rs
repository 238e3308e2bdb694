//! `[socket]`, and `state.dir`, which follows the socket by default.

use std::path::PathBuf;

use nix::unistd::{Group, User, geteuid};

use crate::config::raw::{self, RawValue};
use crate::config::reader::Reader;
use crate::diagnosis::Diagnosis;
use crate::grpc::{AllowedPeers, SocketPath, SocketSettings};
use crate::system::socket_file::SocketPermissions;
use crate::system::user_namespace::{self, NOBODY};

/// The directory that systemd makes for a service of this name.
const DEFAULT_SOCKET: &str = "/run/vault-kms-plugin/kms.sock";
/// Only the plugin's user, and root, may connect.
const DEFAULT_SOCKET_MODE: u32 = 0o600;
/// `sockaddr_un` has 108 bytes, with the terminating zero.
const MAX_SOCKET_PATH_BYTES: usize = 107;

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
    let nobody_is_a_user = user_namespace::maps_every_user();
    let uids = allowed_uids(reader, raw.allow_uids, nobody_is_a_user);
    let gids = allowed_gids(reader, raw.allow_gids);
    let settings = SocketSettings {
        path: path.unwrap_or_else(default_socket),
        permissions: SocketPermissions {
            mode: mode.unwrap_or(DEFAULT_SOCKET_MODE),
            owner,
            group,
        },
    };
    let peers = AllowedPeers {
        uids: uids.unwrap_or_else(|| default_uids(geteuid().as_raw())),
        gids: gids.unwrap_or_default(),
    };
    ((reader.errors.len() == before).then_some(settings), peers)
}

pub(in crate::config) fn socket_path(text: &str) -> Result<SocketPath, String> {
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

/// Where the socket is unless another path is configured.
pub(in crate::config) fn default_socket() -> SocketPath {
    SocketPath::File(DEFAULT_SOCKET.into())
}

/// kube-apiserver runs as root on nearly every control plane. Nobody is admitted only where an
/// operator says so.
fn default_uids(own: u32) -> Vec<u32> {
    let mut uids = vec![0, own];
    uids.retain(|uid| *uid != NOBODY);
    uids
}

/// Nobody is a user like others if every user of the host has a number here: on some distributions
/// kube-apiserver runs as it. Elsewhere every unmapped user appears as it.
fn allowed_uids(reader: &mut Reader, value: RawValue, nobody_is_a_user: bool) -> Option<Vec<u32>> {
    const KEY: &str = "socket.allow_uids";
    let ids = reader.numbers(KEY, value)?;
    if ids.contains(&NOBODY) && nobody_is_a_user {
        reader.warnings.push(format!(
            "{KEY}: {NOBODY} (nobody) admits every process of that user, which services of all kinds \
             share: use it only if kube-apiserver runs as it"
        ));
    } else if ids.contains(&NOBODY) {
        reader.error(KEY, nobody_cannot_be_allowed());
    }
    Some(ids)
}

fn allowed_gids(reader: &mut Reader, value: RawValue) -> Option<Vec<u32>> {
    const KEY: &str = "socket.allow_gids";
    let ids = reader.numbers(KEY, value)?;
    if ids.contains(&NOBODY) {
        reader.error(KEY, nobody_cannot_be_allowed());
    }
    Some(ids)
}

fn nobody_cannot_be_allowed() -> String {
    format!(
        "{NOBODY} (nobody) cannot be allowed: unmapped users of other user namespaces appear as it"
    )
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
    use toml::Value;

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
    fn nobody_is_admitted_only_where_listed_and_where_every_user_is_mapped() {
        let listed = || Some(Value::Array(vec![Value::from(0), Value::from(65534)]));
        let mut reader = Reader::default();
        let uids = allowed_uids(&mut reader, listed(), true);
        assert_eq!(uids, Some(vec![0, NOBODY]));
        assert_eq!((reader.errors.len(), reader.warnings.len()), (0, 1));
        allowed_uids(&mut reader, listed(), false);
        assert_eq!(reader.errors.len(), 1);
        allowed_gids(&mut reader, listed());
        assert_eq!(reader.errors.len(), 2);
        assert_eq!(default_uids(NOBODY), [0]);
        assert_eq!(default_uids(60790), [0, 60790]);
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
