//! The daemon under test as a child process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::UnixStream;

use super::child::{self, Child};
use super::{http, wait};

#[path = "daemon/builder.rs"]
mod builder;

pub use builder::Builder;

const START_LIMIT: Duration = Duration::from_secs(10);
const STOP_LIMIT: Duration = Duration::from_secs(15);
const LOG_LIMIT: Duration = Duration::from_secs(20);

/// A daemon with a directory of its own; killed when dropped.
pub struct Daemon {
    dir: TempDir,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    socket: PathBuf,
    admin_address: String,
    child: Mutex<Child>,
}

impl Daemon {
    /// What a daemon starts from.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The socket for kube-apiserver; `@name` if it is abstract.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The directory that holds its configuration, socket, credentials and log.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The state file.
    pub fn state_path(&self) -> PathBuf {
        let name = self.socket.file_name().expect("the socket has a name");
        self.socket
            .with_file_name(format!("{}.state.json", name.display()))
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.dir().join(builder::CONFIG)
    }

    /// Replaces the configuration file without a signal.
    pub fn write_config(&self, text: &str) {
        builder::replace(&self.config_path(), text);
    }

    /// Changes the keys of the configuration file that `toml` names, without a signal.
    pub fn change_config(&self, toml: &str) {
        let text = fs::read_to_string(self.config_path()).expect("the configuration can be read");
        self.write_config(&builder::merged(&text, toml));
    }

    /// The file that [`Builder::token`] wrote.
    pub fn token_path(&self) -> PathBuf {
        self.dir().join(builder::TOKEN)
    }

    /// Replaces that file without a signal.
    pub fn write_token(&self, token: &str) {
        builder::replace(&self.token_path(), token);
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child().pid()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.child().signal(signal);
    }

    /// Its exit code, if it has ended.
    pub fn exited(&self) -> Option<i32> {
        self.child().exited()
    }

    /// Waits for its end by itself; the exit code, 128 and more after a signal.
    pub async fn wait_exit(&self, limit: Duration) -> i32 {
        wait::until("the daemon ends", limit, async || self.exited()).await
    }

    /// SIGTERM, and the exit code.
    pub async fn stop(&self) -> i32 {
        self.signal(Signal::TERM);
        self.wait_exit(STOP_LIMIT).await
    }

    /// SIGKILL; it is gone when this returns.
    pub fn kill(&self) {
        self.child().kill();
    }

    /// Stops it if it still runs, starts it again with the same files, and waits for its socket.
    pub async fn restart(&self) {
        if self.exited().is_none() {
            self.stop().await;
        }
        self.start();
        self.wait_listening().await;
    }

    /// Starts an ended daemon again, without waiting.
    pub fn start(&self) {
        *self.child() = launch(
            &self.program,
            &self.arguments,
            &self.environment,
            self.dir.path(),
        );
    }

    /// Waits until the socket accepts a connection.
    pub async fn wait_listening(&self) {
        let address = match self.socket.to_str().and_then(|text| text.strip_prefix('@')) {
            Some(name) => PathBuf::from(format!("\0{name}")),
            None => self.socket.clone(),
        };
        wait::until_true("the daemon's socket accepts", START_LIMIT, async || {
            self.child().expect_alive();
            UnixStream::connect(&address).await.is_ok()
        })
        .await;
    }

    /// Everything it wrote since the first start.
    pub fn log(&self) -> String {
        self.child().log()
    }

    /// Waits until the log says `text`: a line is written by a thread of its own, a moment late.
    pub async fn logged(&self, text: &str) {
        let what = format!("the log to say {text:?}");
        wait::until_true(&what, LOG_LIMIT, async || self.log().contains(text)).await;
    }

    /// The lines of the log that are JSON objects.
    pub fn log_lines(&self) -> Vec<serde_json::Value> {
        let log = self.log();
        log.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Its resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most that this ever was.
    pub fn peak_rss_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(path).expect("the daemon runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("it is a number of kB")
    }

    /// Where its probes and metrics are: `127.0.0.1:…`
    pub fn admin_address(&self) -> &str {
        &self.admin_address
    }

    /// GET of an admin path, once its listener is there: it comes a moment after the socket.
    pub async fn admin(&self, path: &str) -> (u16, String) {
        let what = format!("an answer to {path}");
        wait::until(&what, START_LIMIT, async || {
            self.child().expect_alive();
            self.try_admin(path).await.ok()
        })
        .await
    }

    /// GET of an admin path, while the listener may be away.
    pub async fn try_admin(&self, path: &str) -> reqwest::Result<(u16, String)> {
        let url = format!("http://{}{path}", self.admin_address);
        let request = http::Request {
            method: "GET",
            url: &url,
            credential: None,
            ca_pem: None,
        };
        http::text(request, None).await
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn launch(program: &Path, args: &[String], environment: &[(String, String)], dir: &Path) -> Child {
    Child::spawn(program, args, &dir.join("log"), |command| {
        child::clean_environment(command);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
    })
}

impl Drop for Daemon {
    /// A test that failed shows what the daemon said; its directory is about to go.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}
