//! The daemon in a process of its own: this very program, started again to be the daemon.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::time::sleep;
use vault_kms_plugin::config::{Config, Source};
use vault_kms_plugin::supervisor::Daemon;
use vault_kms_plugin::system::{self, Exit, SignalStream};
use vault_kms_plugin::telemetry::Telemetry;

use super::child::{self, Child};
use super::kms::KmsClient;
use super::server::Server;
use super::{Outcome, expect};

/// The first argument of the program when it is the daemon; the second is the configuration.
pub(super) const ARGUMENT: &str = "daemon";

const START_LIMIT: Duration = Duration::from_secs(5);
const STOP_LIMIT: Duration = Duration::from_secs(12);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How much of the daemon's log explains a failure.
const TAIL: usize = 20;

/// A running daemon and its directory; killed when dropped.
pub(super) struct Plugin {
    child: Child,
    dir: TempDir,
}

impl Plugin {
    /// Writes configuration and token, and starts the daemon with them.
    pub(super) fn start(server: &Server) -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        let at = |name: &str| dir.path().join(name);
        write_secret(&at("token"), &server.token())?;
        fs::write(at("config.toml"), configuration(server, dir.path()))?;
        let program = std::env::current_exe()?;
        let config = at("config.toml");
        let arguments = [ARGUMENT.as_ref(), config.as_os_str()];
        // What is set for Vault around us is in the configuration already.
        let child = Child::spawn(&program, &arguments, &at("log"), child::clean_environment);
        Ok(Self { child, dir })
    }

    /// A client, once the daemon listens.
    pub(super) async fn connect(&mut self) -> Outcome<KmsClient> {
        let start = Instant::now();
        while UnixStream::connect(self.socket()).await.is_err() {
            self.expect_running()?;
            expect(start.elapsed() < START_LIMIT, "a socket", "none in 5 s")?;
            sleep(LOOK_EVERY).await;
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
            sleep(LOOK_EVERY).await;
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

/// The daemon's own story, step by step as in `src/main.rs`.
pub(super) fn run(config: PathBuf) -> ExitCode {
    let source = Source::of_process(Some(config));
    let config = match source.load() {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("the configuration is wrong, nothing was started:\n{errors}");
            return Exit::Config.into();
        }
    };
    match serve(&config, source) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("cannot go on: {error}");
            Exit::Internal.into()
        }
    }
}

fn serve(config: &Config, source: Source) -> Outcome<Exit> {
    let log = Telemetry::start(config.log)?;
    system::harden()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut signals = SignalStream::register()?;
        let mut daemon = Daemon::start(config, source, log.handle(), None).await?;
        loop {
            tokio::select! {
                exit = daemon.ended() => return Ok(exit),
                signal = signals.next() => daemon.signal(signal),
            }
        }
    })
}
