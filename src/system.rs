//! The process and the host: exit codes, signals, no trace of memory on disk, in `notify` what
//! systemd is told, and in `socket_file` sockets that are files.

pub mod atomic_file;
pub mod notify;
pub mod socket_file;
pub mod watched_file;

use std::fmt;
use std::process::ExitCode;

use futures_util::StreamExt;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

use crate::telemetry::events;

/// How the process ends; the codes are those of sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: stopped when asked to.
    Ok,
    /// 1: `check --strict` found something to know, and nothing wrong.
    Warned,
    /// 69: another process has the socket, or the system refused it; for `check`, Vault is away or
    /// refuses.
    Unavailable,
    /// 70: an actor failed again and again.
    Internal,
    /// 78: the configuration is wrong, or a file that it names cannot be used.
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

/// The signals that the process gets from now on.
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
            Exit::Unavailable => 69,
            Exit::Internal => 70,
            Exit::Config => 78,
        })
    }
}

impl SignalStream {
    /// Takes the signals over: from here on SIGHUP does not end the process. Has to be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn register() -> std::io::Result<Self> {
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

/// On fault: what was reserved and never touched stays out of the resident size. Under a limit this
/// would make a later allocation fail, so there it must not be tried.
fn lock_memory() {
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    // Sandboxes forbid it here and there; that is no reason to be absent.
    if let Err(error) = mlockall(all) {
        events::MemoryNotLocked {
            error: error.to_string(),
        }
        .emit();
    }
}

/// Keeps memory, which holds tokens and seeds, out of core dumps, away from debuggers, and, where
/// the process may lock all that it wants (`RLIMIT_MEMLOCK`), out of swap.
///
/// # Errors
/// When the kernel refuses.
pub fn harden() -> std::io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    if getrlimit(Resource::Memlock).current.is_none() {
        lock_memory();
    }
    Ok(())
}
