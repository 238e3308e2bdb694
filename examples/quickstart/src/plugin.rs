//! The real daemon, built and started as a process of its own.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::time::sleep;

use super::child::{self, Child};
use super::kms::KmsClient;
use super::server::Server;
use super::{Outcome, expect};

const START_LIMIT: Duration = Duration::from_secs(5);
const STOP_LIMIT: Duration = Duration::from_secs(12);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// How much of the daemon's log explains a failure.
const TAIL: usize = 20;

/// A running daemon and its directory; killed when dropped.
pub(super) struct Plugin {
    child: Child,
    dir: TempDir,
}

/// Builds the daemon in the profile of this program. Both packages are named, so that their dependencies have
/// the features that they were compiled with for this program, and none is compiled again. Without jemalloc, which
/// takes as long to build as everything else.
pub(super) fn build() -> Outcome<PathBuf> {
    let packages = ["--package", "quickstart", "--package", "vault-kms-plugin"];
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "build",
            "--quiet",
            "--locked",
            "--bins",
            "--no-default-features",
        ])
        .args(packages);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let status = cargo.status()?;
    expect(
        status.success(),
        "a build of the daemon",
        &status.to_string(),
    )?;
    let this = std::env::current_exe()?;
    Ok(this.with_file_name("vault-kms-plugin"))
}

impl Plugin {
    /// Writes configuration and token, and starts the daemon with them.
    pub(super) fn start(server: &Server, program: &Path) -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        let at = |name: &str| dir.path().join(name);
        write_secret(&at("token"), &server.token())?;
        // Whatever the umask: one that a group can write to is refused.
        write_secret(&at("config.toml"), &configuration(server, dir.path()))?;
        let config = at("config.toml");
        let arguments = ["--config".as_ref(), config.as_os_str()];
        // What the environment says of Vault is in the configuration already.
        let child = Child::spawn(program, &arguments, &at("log"), child::clean_environment);
        Ok(Self { child, dir })
    }

    /// A client, once the daemon listens.
    pub(super) async fn connect(&mut self) -> Outcome<KmsClient> {
        let start = Instant::now();
        while UnixStream::connect(self.socket()).await.is_err() {
            self.expect_running()?;
            expect(start.elapsed() < START_LIMIT, "a socket", "none in 5 s")?;
            sleep(POLL_INTERVAL).await;
        }
        Ok(KmsClient::connect(self.socket()))
    }

    /// SIGTERM, and the exit code.
    pub(super) async fn stop(&mut self) -> Outcome<i32> {
        self.child.signal(Signal::TERM);
        let start = Instant::now();
        loop {
            if let Some(code) = self.child.exited() {
                return Ok(code);
            }
            expect(start.elapsed() < STOP_LIMIT, "an exit", "none in 12 s")?;
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Refuses to go on without the daemon.
    pub(super) fn expect_running(&mut self) -> Outcome {
        match self.child.exited() {
            None => Ok(()),
            Some(code) => Err(format!("expected a running daemon, it ended with {code}").into()),
        }
    }

    /// An error with the end of the daemon's log.
    pub(super) fn explained(&self, error: &dyn Error) -> Box<dyn Error> {
        let log = self.child.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n  ");
        format!("{error}\n\nThe end of the daemon's log:\n  {tail}").into()
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub(super) fn socket(&self) -> PathBuf {
        socket_in(self.dir.path())
    }
}

fn socket_in(dir: &Path) -> PathBuf {
    dir.join("kms.sock")
}

fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file?.write_all(text.as_bytes())
}

/// The daemon's configuration, in TOML.
fn configuration(server: &Server, dir: &Path) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let path = |path: PathBuf| quoted(&path.to_string_lossy());
    let vault: String = server
        .settings()
        .into_iter()
        .map(|(key, value)| format!("{key} = {}\n", quoted(&value)))
        .collect();
    format!(
        "[socket]\npath = {socket}\n\n[vault]\n{vault}\n[transit]\nmount = {mount}\nkey = {key}\n\n\
         [auth]\nmethod = \"token\"\ntoken_file = {token}\n\n\
         [admin]\nlisten = \"127.0.0.1:{port}\"\n\n[log]\nformat = \"text\"\n",
        socket = path(socket_in(dir)),
        mount = quoted(super::memory_transit::MOUNT),
        key = quoted(server.key()),
        token = path(dir.join("token")),
        port = child::free_port(),
    )
}
