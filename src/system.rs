//! The process and the host: exit codes, signals, hardening, files, and notifications for systemd.

pub mod atomic_file;
pub(crate) mod blocking;
pub mod boot;
pub mod clock;
pub mod file_trust;
pub mod grpc_connection;
pub mod identity;
pub mod locked_page;
pub mod notify;
mod one_line;
pub mod pid_namespace;
pub mod root_dir;
#[cfg(test)]
pub(crate) mod simulated;
pub mod socket_file;
pub mod user_namespace;
pub mod watched_file;

use std::fmt;
use std::io;
use std::process::ExitCode;

use futures_util::StreamExt;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

use crate::telemetry::events;
pub use one_line::{bounded, one_line};

/// How the process ends, with the codes of sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: stopped when asked to.
    Ok,
    /// 1: `check --strict` found warnings and no errors.
    Warned,
    /// 64: the answers for `init` are missing or invalid.
    Usage,
    /// 69: another process uses the socket, or the system refused it; for `check`, Vault is
    /// unreachable or refuses.
    Unavailable,
    /// 70: an actor kept failing.
    Internal,
    /// 78: the configuration is invalid, or a file that it names cannot be used.
    Config,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT.
    Stop,
}

/// The signals of the process.
pub struct SignalStream(Signals);

impl fmt::Debug for SignalStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignalStream")
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Warned => 1,
            Exit::Usage => 64,
            Exit::Unavailable => 69,
            Exit::Internal => 70,
            Exit::Config => 78,
        })
    }
}

impl SignalStream {
    /// Handles the signals from now on: SIGHUP no longer ends the process. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn register() -> io::Result<Self> {
        Signals::new([SIGHUP, SIGINT, SIGTERM]).map(Self)
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        match self.0.next().await {
            Some(SIGHUP) => Signal::Reload,
            Some(_) => Signal::Stop,
            None => std::future::pending().await,
        }
    }
}

/// A process that is hardened.
#[derive(Debug)]
pub struct Hardened {
    /// Why its memory could not be locked. Some sandboxes forbid it, which must not keep the plugin from
    /// running.
    not_locked: Option<io::Error>,
}

impl Hardened {
    /// Logs what could not be done. Needs logging, which starts after [`harden`].
    pub fn report(self) {
        if let Some(error) = self.not_locked {
            let error = error.to_string();
            events::MemoryNotLocked { error }.emit();
        }
    }
}

/// Locks pages when they are first used, so that reserved memory does not become resident. Must not be
/// called under a limit, where a later allocation would fail.
fn lock_memory() -> io::Result<()> {
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    Ok(mlockall(all)?)
}

/// Keeps memory, which holds tokens and seeds, out of core dumps, away from debuggers, and, if the
/// process may lock any amount (`RLIMIT_MEMLOCK`), out of swap. Has to be the first thing that a process
/// does: the environment and the configuration may hold secrets too.
///
/// # Errors
/// If the kernel refuses.
pub fn harden() -> io::Result<Hardened> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let may_lock = getrlimit(Resource::Memlock).current.is_none();
    let locked = if may_lock { lock_memory() } else { Ok(()) };
    Ok(Hardened {
        not_locked: locked.err(),
    })
}
