//! The live socket, as kube-apiserver would use it: with its user and groups, through its mounts, on a
//! connection of its own.

mod apiserver;

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::{KUBE_TIMEOUT, Report, encryption};
use crate::config::Config;
use crate::grpc::{KmsClient, SocketPath};
use crate::system::identity::Identity;
use crate::system::root_dir::{RootDir, path_of};
use apiserver::Apiserver;

const NAME: &str = "running";
/// A call that takes longer leaves less than half of kube-apiserver's time.
const SLOW: Duration = Duration::from_millis(1500);

/// Through whose eyes the socket is looked at.
struct Caller {
    /// How the report names it.
    name: String,
    identity: Identity,
    /// Its root directory, if it may have another one than this process.
    root: Option<RootDir>,
    /// The socket as it names it.
    socket: SocketPath,
}

/// A kube-apiserver, its root directory and its file, as far as they may be seen.
struct Seen {
    server: Apiserver,
    root: io::Result<RootDir>,
    /// The content of the file, if one is named.
    file: Option<io::Result<Vec<u8>>>,
    /// The plugin's socket as the file names it.
    sockets: Vec<SocketPath>,
}

/// Checks the socket for each kube-apiserver that leads to it; if none does, for each of this host, or for
/// this process. Checks the file of each, unless `has_file`.
pub(super) async fn check(config: &Config, has_file: bool, report: &mut Report) {
    let servers = Apiserver::all().into_iter();
    let mut servers: Vec<_> = servers.map(|server| Seen::new(server, config)).collect();
    if servers.is_empty() {
        return for_this_process(config, report).await;
    }
    if servers.iter().any(|one| !one.sockets.is_empty()) {
        // Another cluster may have its control plane on the same host.
        let (ours, others): (Vec<_>, Vec<_>) =
            servers.into_iter().partition(|one| !one.sockets.is_empty());
        for other in others {
            let text = format!(
                "{} does not use this plugin: right if it is of another cluster",
                other.name()
            );
            report.warning(NAME, text);
        }
        servers = ours;
    }
    for seen in servers {
        let name = seen.name();
        let Seen {
            server,
            root,
            file,
            sockets,
        } = seen;
        let root = match root {
            Ok(root) => root,
            Err(error) => {
                let text = format!("{name}: its file system cannot be seen: {error}");
                report.error(NAME, text, "run this as root");
                continue;
            }
        };
        match (server.encryption_config, file) {
            _ if has_file => {}
            (Some(path), Some(text)) => {
                encryption::check(&path, text, Some(&root), Some(config), report);
            }
            _ => {
                let text = format!(
                    "{name} runs without --encryption-provider-config: it encrypts nothing"
                );
                report.warning(NAME, text);
            }
        }
        let caller = Caller {
            name: format!("as {name}"),
            identity: server.identity,
            root: Some(root),
            socket: sockets
                .into_iter()
                .next()
                .unwrap_or_else(|| config.socket.path.clone()),
        };
        socket(&caller, config, report).await;
    }
}

async fn for_this_process(config: &Config, report: &mut Report) {
    let identity = match Identity::own() {
        Ok(identity) => identity,
        Err(error) => return report.error(NAME, error.to_string(), "run this as root"),
    };
    let caller = Caller {
        name: format!(
            "as user {}: no kube-apiserver is visible from here",
            identity.uid
        ),
        identity,
        root: None,
        socket: config.socket.path.clone(),
    };
    socket(&caller, config, report).await;
}

impl Seen {
    /// Reads the file with the rights of that process: its command line may be anybody's.
    fn new(server: Apiserver, config: &Config) -> Self {
        let root = RootDir::of(server.pid);
        let file = match (&server.encryption_config, &root) {
            (Some(path), Ok(root)) => Some(
                server
                    .identity
                    .assume()
                    .and_then(|_assumed| root.read(path)),
            ),
            _ => None,
        };
        let sockets = match (&file, &root) {
            (Some(Ok(text)), Ok(root)) => encryption::own_sockets(text, root, config),
            _ => Vec::new(),
        };
        Self {
            server,
            root,
            file,
            sockets,
        }
    }

    fn name(&self) -> String {
        let Apiserver { pid, identity, .. } = &self.server;
        format!("kube-apiserver (pid {pid}, user {})", identity.uid)
    }
}

/// Status, Encrypt and Decrypt.
async fn socket(caller: &Caller, config: &Config, report: &mut Report) {
    let shown = &caller.socket;
    let connected = match connect(caller).await {
        Ok(stream) => timeout(KUBE_TIMEOUT, KmsClient::over(stream, KUBE_TIMEOUT)).await,
        Err(error) => {
            let text = format!("{shown}, {}: {error}", caller.name);
            return report.error(NAME, text, remedy(error.kind(), caller));
        }
    };
    let mut client = match connected {
        Ok(Ok(client)) => client,
        Ok(Err(_)) => return report_closed(caller, config, report),
        Err(_) => {
            let text = format!("{shown}, {}: no answer", caller.name);
            return report.error(NAME, text, "see the log of the plugin, and restart it");
        }
    };
    match calls(&mut client).await {
        Ok((text, took)) if took < SLOW => {
            report.ok(NAME, format!("{shown}, {}: {text}", caller.name));
        }
        Ok((text, _)) => report.warning(NAME, format!("{shown}, {}: {text}", caller.name)),
        // What a connection that was closed at once looks like.
        Err(Failure::Answer(_, status)) if is_closed(&status) => {
            report_closed(caller, config, report);
        }
        Err(failure) => {
            let text = format!("{shown}, {}: {failure}", caller.name);
            report.unavailable(NAME, text, "see `vault-kms-plugin status` and its log");
        }
    }
}

/// Connects with the rights of the caller, to the file that it sees.
async fn connect(caller: &Caller) -> io::Result<UnixStream> {
    let _assumed = caller.identity.assume()?;
    match (&caller.socket, &caller.root) {
        (SocketPath::File(path), Some(root)) => {
            let file = root.find(path)?;
            UnixStream::connect(path_of(&file)).await
        }
        (socket, _) => socket.connect().await,
    }
}

fn remedy(kind: ErrorKind, caller: &Caller) -> &'static str {
    match (kind, &caller.root) {
        (ErrorKind::NotFound, Some(_)) => {
            "start the plugin; if it runs, mount the directory of the socket into kube-apiserver (hostPath) \
             and start that again"
        }
        (ErrorKind::NotFound, None) => "start the plugin, or correct socket.path",
        (ErrorKind::ConnectionRefused, _) => {
            "start the plugin: its socket is left, and nobody listens"
        }
        (ErrorKind::PermissionDenied, _) => {
            "let that user enter the directory of the socket and write to it: socket.mode, socket.group, \
             socket.owner; or run this as root"
        }
        _ => "see the log of the plugin",
    }
}

/// Whether the plugin closed the connection instead of an answer.
fn is_closed(status: &Status) -> bool {
    std::error::Error::source(status).is_some() && status.code() != Code::DeadlineExceeded
}

/// What the end of the connection is called depends on who is first.
fn report_closed(caller: &Caller, config: &Config, report: &mut Report) {
    let uid = caller.identity.uid;
    let text = format!(
        "{}, {}: the plugin closed the connection without an answer",
        caller.socket, caller.name
    );
    if config.peers.uids.contains(&uid) {
        return report.error(NAME, text, "see its log, which says why");
    }
    // A list replaces the default, which holds the user of the plugin, who owns the socket.
    let mut uids = config.peers.uids.clone();
    if let SocketPath::File(path) = &config.socket.path {
        uids.extend(std::fs::metadata(path).map(|file| file.uid()));
    }
    uids.push(uid);
    uids.sort_unstable();
    uids.dedup();
    let remedy = format!(
        "if that user shall be served, set socket.allow_uids = {uids:?} and reload; else see the log of the plugin"
    );
    report.error(NAME, text, &remedy);
}

/// Why a call did not go well.
enum Failure {
    /// The plugin answered an error.
    Answer(&'static str, Status),
    /// Status is not ok.
    NotOk(String),
    /// What was decrypted is not what was encrypted.
    Different,
    /// Encrypt and Status disagree.
    KeyIds(String, String),
    NoRandomness,
}

/// The three calls, as kube-apiserver makes them. Returns what to say, and the time of the longest.
async fn calls(client: &mut KmsClient) -> Result<(String, Duration), Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| Failure::NoRandomness)?;
    let start = Instant::now();
    let status = client.status().await;
    let status = status.map_err(|status| Failure::Answer("Status", status))?;
    let asked = start.elapsed();
    if status.healthz != "ok" {
        return Err(Failure::NotOk(status.healthz));
    }
    let start = Instant::now();
    let encrypted = client.encrypt(&seed).await;
    let encrypted = encrypted.map_err(|status| Failure::Answer("Encrypt", status))?;
    let encrypting = start.elapsed();
    if encrypted.key_id != status.key_id {
        return Err(Failure::KeyIds(status.key_id, encrypted.key_id));
    }
    let start = Instant::now();
    let decrypted = client.decrypt(encrypted).await;
    let decrypted = decrypted.map_err(|status| Failure::Answer("Decrypt", status))?;
    let decrypting = start.elapsed();
    if decrypted != seed {
        return Err(Failure::Different);
    }
    let text = format!(
        "Status {} in {} ms, Encrypt in {} ms, Decrypt in {} ms, key_id {}",
        status.healthz,
        asked.as_millis(),
        encrypting.as_millis(),
        decrypting.as_millis(),
        status.key_id
    );
    Ok((text, asked.max(encrypting).max(decrypting)))
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answer(call, status) => {
                write!(
                    f,
                    "{call} failed with {:?}: {}",
                    status.code(),
                    status.message()
                )
            }
            Self::NotOk(healthz) => write!(f, "Status is not ok: {healthz}"),
            Self::Different => write!(
                f,
                "Decrypt returned another value than was encrypted: report it"
            ),
            Self::KeyIds(status, encrypt) => write!(
                f,
                "Encrypt used {encrypt}, and Status had announced {status}: report it"
            ),
            Self::NoRandomness => write!(f, "the system has no random bytes"),
        }
    }
}
