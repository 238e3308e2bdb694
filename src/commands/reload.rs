//! `reload`: sends SIGHUP to the running daemon and waits for the outcome. For containers, which have
//! no shell and no `kill`.

use std::io::{self, Write};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::running::{self, RunningError};
use super::written;
use crate::admin::Address;
use crate::cli;
use crate::config::Source;
use crate::system::identity::Identity;
use crate::system::{Exit, pid_namespace};

/// How often the daemon is asked for the outcome.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Longer than the daemon takes to log in and to prove a candidate.
const LIMIT: Duration = Duration::from_secs(30);

/// What is needed of `status.json`.
#[derive(Debug, Deserialize)]
struct State {
    pid: i32,
    pid_namespace: Option<String>,
    last_reload: Option<LastReload>,
}

#[derive(Debug, Deserialize)]
struct LastReload {
    /// Different for each reload.
    at: String,
    refused: Option<String>,
}

/// Reloads, and prints the outcome.
///
/// # Errors
/// The error to print, and its exit code: that of an invalid configuration if it was rejected.
pub fn run(options: &cli::Reload, source: &Source) -> Result<(), (String, Exit)> {
    let given = options.address.as_ref();
    let address = running::address(given, source)?;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|error: io::Error| (error.to_string(), Exit::Internal))?;
    let outcome = runtime.block_on(async {
        let before = state(&address).await?;
        signal(&before)?;
        // The reload may have moved it; the address given is then the earlier one.
        let moved = source
            .admin_address()
            .map_or(Address::Off, |(moved, _)| moved);
        outcome(&[address, moved], &before).await
    });
    match outcome.map_err(|error| (error, Exit::Unavailable))? {
        None => written(writeln!(io::stdout(), "applied")),
        Some(reason) => Err((
            format!("the reload was refused, the running configuration stays: {reason}"),
            Exit::Config,
        )),
    }
}

async fn state(address: &Address) -> Result<State, String> {
    let text = running::get(address, "status.json").await;
    let text = text.map_err(|error: RunningError| error.to_string())?;
    serde_json::from_str(&text)
        .map_err(|error| format!("{address} runs another version of vault-kms-plugin: {error}"))
}

/// A process id means the same process only inside one pid namespace.
fn signal(daemon: &State) -> Result<(), String> {
    let own = pid_namespace::id();
    let pid = Pid::from_raw(daemon.pid).filter(|_| own.is_some() && own == daemon.pid_namespace);
    let pid = pid.ok_or(
        "the daemon runs in another pid namespace: run this command in its container, or send SIGHUP there",
    )?;
    hang_up(pid).map_err(|error| {
        let remedy = match error {
            Errno::PERM => "; run this as root or as the user of the daemon",
            _ => "",
        };
        format!(
            "process {} cannot be sent SIGHUP: {error}{remedy}",
            daemon.pid
        )
    })
}

/// Sends SIGHUP, as the user of the daemon where root may not: in a container that has no `CAP_KILL`.
fn hang_up(pid: Pid) -> Result<(), Errno> {
    match kill_process(pid, Signal::HUP) {
        Err(Errno::PERM) => {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
            let daemon = status.ok().and_then(|status| Identity::read(&status));
            let _assumed = daemon
                .and_then(|daemon| daemon.assume().ok())
                .ok_or(Errno::PERM)?;
            kill_process(pid, Signal::HUP)
        }
        outcome => outcome,
    }
}

/// Why the reload was refused; `None` if it was applied.
async fn outcome(addresses: &[Address], before: &State) -> Result<Option<String>, String> {
    let at = |state: &State| state.last_reload.as_ref().map(|reload| reload.at.clone());
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        sleep(ASK_EVERY).await;
        for address in addresses {
            // It does not answer while it moves.
            let Ok(now) = state(address).await else {
                continue;
            };
            if now.pid == before.pid && at(&now) != at(before) {
                return Ok(now.last_reload.and_then(|reload| reload.refused));
            }
        }
    }
    Err(format!(
        "SIGHUP was sent, and no outcome is known after {} s; vault-kms-plugin status shows it as `last reload`",
        LIMIT.as_secs()
    ))
}
