//! The live socket, as kube-apiserver would use it: with its user and groups, through its mounts, on a
//! connection of its own.

mod apiserver;

use std::io::{self, ErrorKind};
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
}

/// A kube-apiserver, and its root directory if that may be seen.
struct Seen {
    server: Apiserver,
    root: io::Result<RootDir>,
}

/// Checks the socket for each kube-apiserver that leads to it; if none does, for each of this host, or for
/// this process. Checks the file of each, unless `has_file`.
pub(super) async fn check(config: &Config, has_file: bool, report: &mut Report) {
    let mut servers: Vec<_> = Apiserver::all().into_iter().map(Seen::new).collect();
    if servers.iter().any(|one| one.leads_to(config)) {
        // Another cluster may have its control plane on the same host.
        servers.retain(|one| one.leads_to(config));
    }
    if servers.is_empty() {
        return for_this_process(config, report).await;
    }
    for Seen { server, root } in servers {
        let caller = match root {
            Ok(root) => Caller {
                name: format!(
                    "as kube-apiserver (pid {}, user {})",
                    server.pid, server.identity.uid
                ),
                identity: server.identity.clone(),
                root: Some(root),
            },
            Err(error) => {
                let text = format!(
                    "kube-apiserver (pid {}): its file system cannot be seen: {error}",
                    server.pid
                );
                report.error(NAME, text, "run this as root");
                continue;
            }
        };
        if !has_file {
            file(&server, &caller, config, report);
        }
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
    };
    socket(&caller, config, report).await;
}

impl Seen {
    fn new(server: Apiserver) -> Self {
        let root = RootDir::of(server.pid);
        Self { server, root }
    }

    /// Whether its file names this plugin's socket.
    fn leads_to(&self, config: &Config) -> bool {
        match (&self.server.encryption_config, &self.root) {
            (Some(path), Ok(root)) => encryption::leads_to(path, root, config),
            _ => false,
        }
    }
}

/// The file that this kube-apiserver was started with.
fn file(server: &Apiserver, caller: &Caller, config: &Config, report: &mut Report) {
    let Some(path) = &server.encryption_config else {
        let text = format!(
            "kube-apiserver (pid {}) runs without --encryption-provider-config: it encrypts nothing",
            server.pid
        );
        return report.warning(NAME, text);
    };
    encryption::check(path, caller.root.as_ref(), Some(config), report);
}

/// Status, Encrypt and Decrypt.
async fn socket(caller: &Caller, config: &Config, report: &mut Report) {
    let shown = &config.socket.path;
    let connected = match connect(caller, &config.socket.path).await {
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
async fn connect(caller: &Caller, socket: &SocketPath) -> io::Result<UnixStream> {
    let _assumed = caller.identity.assume()?;
    match (socket, &caller.root) {
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
        config.socket.path, caller.name
    );
    let remedy = format!(
        "add {uid} to socket.allow_uids and reload, if that user shall be served; else see its log"
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
