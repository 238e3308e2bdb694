//! The socket's directory, its mode, and who may connect. Nobody is connected to: a daemon may run.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::Report;
use crate::config::Config;
use crate::grpc::{SocketPath, SocketSettings};

const NAME: &str = "socket";
/// Who may write here could put a socket of his own in the plugin's place.
const OTHERS_WRITE: u32 = 0o022;
/// Where only the owner of a file may replace it, as in /tmp.
const STICKY: u32 = 0o1000;
/// Who is let in beside the owner.
const GROUP_WRITES: u32 = 0o020;

/// Looks at all of it.
pub(super) fn look(config: &Config, report: &mut Report) {
    // Told already: something else is at its place.
    if report.complains_of(NAME) {
        return;
    }
    let socket = &config.socket;
    let dir = match &socket.path {
        SocketPath::Abstract(_) => "it has no file, so the lists are its only door".to_owned(),
        SocketPath::File(path) => {
            let dir = path.parent().unwrap_or(Path::new("/"));
            match look_at_directory(dir) {
                Ok(data) => of_directory(dir, &data, report),
                Err(error) => return no_directory(socket, dir, &error, report),
            }
        }
    };
    let doors = doors(config, report);
    if !report.complains_of(NAME) {
        report.ok(NAME, format!("{}: {doors}; {dir}", socket.path));
    }
}

/// A directory in which a file can be made.
fn look_at_directory(dir: &Path) -> io::Result<Metadata> {
    let data = fs::metadata(dir)?;
    if !data.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    accessat(CWD, dir, wanted, AtFlags::EACCESS)?;
    Ok(data)
}

fn no_directory(socket: &SocketSettings, dir: &Path, error: &io::Error, report: &mut Report) {
    let shown = dir.display();
    if error.kind() == ErrorKind::NotFound && dir.parent() == Some(Path::new("/run")) {
        let text = format!(
            "{shown} is not there yet: RuntimeDirectory= of the unit, or the pod, makes it"
        );
        return report.warning(NAME, text);
    }
    let remedy = match error.kind() {
        ErrorKind::NotFound => {
            "create that directory and give it to the plugin's user, or correct socket.path"
        }
        ErrorKind::PermissionDenied => {
            "let the plugin's user write to that directory; was this run as that user?"
        }
        _ => "correct socket.path",
    };
    let text = format!("socket.path: cannot bind {}: {shown}: {error}", socket.path);
    report.error(NAME, text, remedy);
}

fn of_directory(dir: &Path, data: &Metadata, report: &mut Report) -> String {
    let (shown, mode) = (dir.display(), data.mode() & 0o7777);
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        let text = format!(
            "{shown} has mode {mode:04o}: others than its owner can put a socket of their own there; take that right from them"
        );
        report.warning(NAME, text);
    }
    format!(
        "its directory has mode {mode:04o} and belongs to uid {}",
        data.uid()
    )
}

/// The mode is one door, the lists are another: who is to come in has to pass both.
fn doors(config: &Config, report: &mut Report) -> String {
    let (socket, peers) = (&config.socket, &config.peers);
    let own = socket
        .permissions
        .owner
        .unwrap_or_else(|| rustix::process::geteuid().as_raw());
    let strangers = peers.uids.iter().any(|uid| *uid != 0 && *uid != own);
    let has_file = matches!(socket.path, SocketPath::File(_));
    if has_file
        && socket.permissions.mode & GROUP_WRITES == 0
        && (strangers || !peers.gids.is_empty())
    {
        let text = format!(
            "socket.mode {:04o} lets in its owner and root alone, whatever socket.allow_uids and socket.allow_gids say: 0660 with socket.group lets others in",
            socket.permissions.mode
        );
        report.warning(NAME, text);
    }
    let ids = |ids: &[u32]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let shown: Vec<_> = ids.iter().map(u32::to_string).collect();
        shown.join(", ")
    };
    let groups = match ids(&peers.gids).as_str() {
        "" => String::new(),
        groups => format!(" and groups {groups}"),
    };
    format!(
        "mode {:04o}, for users {}{groups}",
        socket.permissions.mode,
        ids(&peers.uids)
    )
}
