//! The socket's directory, its mode, and who may connect. Does not connect: a daemon may be running.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::Report;
use crate::config::Config;
use crate::grpc::{SocketPath, SocketSettings};

const NAME: &str = "socket";
/// Whoever may write to the directory could replace the plugin's socket.
const OTHERS_WRITE: u32 = 0o022;
/// Only the owner of a file may replace it, as in /tmp.
const STICKY: u32 = 0o1000;
/// Group members may connect.
const GROUP_WRITES: u32 = 0o020;

/// Checks all of it.
pub(super) fn check(config: &Config, report: &mut Report) {
    // Reported already: another file is in the socket's place.
    if report.has_problem(NAME) {
        return;
    }
    let socket = &config.socket;
    let dir = match &socket.path {
        SocketPath::Abstract(_) => "it has no file, so only the lists restrict access".to_owned(),
        SocketPath::File(path) => {
            let dir = path.parent().unwrap_or(Path::new("/"));
            match check_directory(dir) {
                Ok(data) => of_directory(dir, &data, report),
                Err(error) => return no_directory(socket, dir, &error, report),
            }
        }
    };
    let access = access(config, report);
    if !report.has_problem(NAME) {
        report.ok(NAME, format!("{}: {access}; {dir}", socket.path));
    }
}

/// Whether a file can be created in the directory.
fn check_directory(dir: &Path) -> io::Result<Metadata> {
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
            "{shown} does not exist yet: RuntimeDirectory= of the unit, or the pod, creates it"
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
    let shown = dir.display();
    let mode = data.mode() & 0o7777;
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        let text = format!(
            "{shown} has mode {mode:04o}: other users than its owner can replace the socket; remove their write permission"
        );
        report.warning(NAME, text);
    }
    format!(
        "its directory has mode {mode:04o} and belongs to uid {}",
        data.uid()
    )
}

/// Both restrict access: the mode of the file, and the lists of allowed users and groups.
fn access(config: &Config, report: &mut Report) -> String {
    let socket = &config.socket;
    let peers = &config.peers;
    let own = socket
        .permissions
        .owner
        .unwrap_or_else(|| rustix::process::geteuid().as_raw());
    let others = peers.uids.iter().any(|uid| *uid != 0 && *uid != own);
    let has_file = matches!(socket.path, SocketPath::File(_));
    if has_file && socket.permissions.mode & GROUP_WRITES == 0 && (others || !peers.gids.is_empty())
    {
        let text = format!(
            "socket.mode {:04o} admits only its owner and root, whatever socket.allow_uids and socket.allow_gids allow: 0660 with socket.group admits others",
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
