//! A child process that dies with the test process, even if that one is killed with SIGKILL.
//!
//! A small shell starts it: it leaves a watcher behind, which reads from a pipe that
//! only the test process holds, and then becomes the program. When the pipe closes without a
//! farewell, the watcher kills the program.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{self, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::wait;

/// `exec` keeps the process id, so `$$`, the program and the handle of the harness are one.
const CRADLE: &str = r#"exec 3<&0 </dev/null
(read -r farewell <&3 || kill -9 $$) &
exec 3<&-
exec "$@""#;

/// A running (or ended) program whose output goes to a log file.
pub struct Child {
    process: process::Child,
    pipe: Option<ChildStdin>,
    ended: Option<ExitStatus>,
    log: PathBuf,
}

impl Child {
    /// Starts `program`; its output is appended to the file `log`. `adjust` sets what else the
    /// program needs: environment, working directory.
    pub fn spawn<A: AsRef<OsStr>>(
        program: &Path,
        args: &[A],
        log: &Path,
        adjust: impl FnOnce(&mut Command),
    ) -> Self {
        let output = append_to(log);
        let errors = output
            .try_clone()
            .expect("the log file can be opened twice");
        let mut command = Command::new("sh");
        command.args(["-c", CRADLE, "sh"]).arg(program).args(args);
        command.stdin(Stdio::piped()).stdout(output).stderr(errors);
        adjust(&mut command);
        let mut process = command.spawn().expect("sh can be started");
        let pipe = process.stdin.take();
        Self {
            process,
            pipe,
            ended: None,
            log: log.to_owned(),
        }
    }

    /// The process id of the program itself.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends `signal`, unless the program has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.exited().is_none() {
            let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
            // It may end at this very moment; its process id stays ours until it is waited for.
            let _ = kill_process(pid.expect("a process id is positive"), signal);
        }
    }

    /// Its exit code if it has ended; 128 and the signal's number if a signal ended it.
    pub fn exited(&mut self) -> Option<i32> {
        if self.ended.is_none() {
            self.ended = self.process.try_wait().expect("a child can be waited for");
        }
        let status = self.ended?;
        self.say_farewell();
        status
            .code()
            .or_else(|| status.signal().map(|number| 128 + number))
    }

    /// Panics with the log if the program has ended: for whoever waits for it to come up.
    pub fn expect_alive(&mut self) {
        let ended = self.exited();
        assert!(ended.is_none(), "it ended with {ended:?}:\n{}", self.log());
    }

    /// Waits until the program ends and returns its exit code, as [`Child::exited`] does.
    pub async fn wait_exit(&mut self, limit: Duration) -> i32 {
        let log = self.log.clone();
        let what = format!("the exit of process {}, see {}", self.pid(), log.display());
        wait::until(&what, limit, async || self.exited()).await
    }

    /// Kills the program with SIGKILL and returns once it is gone.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            // Already dead is as good.
            let _ = self.process.kill();
            self.ended = self.process.wait().ok();
        }
        self.say_farewell();
    }

    /// Everything the program has written so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends the watcher home, so that it never kills another process that got the same id.
    fn say_farewell(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            // A watcher that is gone needs no farewell.
            let _ = pipe.write_all(b"farewell\n");
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

fn append_to(path: &Path) -> File {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Removes from `command` what would tell a server of the outer world: Vault's own variables,
/// proxies, where spans go to, and what systemd hands to a service.
pub fn clean_environment(command: &mut Command) {
    const OTHERS: [&str; 8] = [
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_FDS",
        "LISTEN_PID",
        "JOURNAL_STREAM",
        "INVOCATION_ID",
        "CREDENTIALS_DIRECTORY",
    ];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let foreign = ["VAULT_", "BAO_", "OTEL_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
            || text.to_ascii_lowercase().ends_with("_proxy")
            || OTHERS.contains(&text.as_ref());
        if foreign {
            command.env_remove(&name);
        }
    }
}

/// A loopback port that is free now and that the kernel gives to no outgoing connection, so that
/// a server can be killed and started again on it. Always even and never the same one twice in a
/// process; the odd one above belongs to it too, because Vault opens that for its cluster.
pub fn free_port() -> u16 {
    const FIRST: u16 = 15_000;
    const COUNT: u16 = 8_500; // ends below 32768, where the kernel's own range starts
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Two test processes at one time start at different places.
    let next = NEXT.get_or_init(|| AtomicU16::new(fastrand::u16(..COUNT)));
    for _ in 0..COUNT {
        let port = FIRST + 2 * (next.fetch_add(1, Ordering::Relaxed) % COUNT);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on 127.0.0.1 from {FIRST} on");
}
