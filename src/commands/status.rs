//! `status`: shows the state of the running daemon.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::{is_enough, running, written};
use crate::cli;
use crate::config::Source;
use crate::grpc::SocketPath;
use crate::system::Exit;

/// How often `--watch` asks.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Whether the KMS socket answers.
fn live(socket: Option<&Path>, source: &Source) -> Result<(), (String, Exit)> {
    let socket = match socket {
        Some(path) => SocketPath::File(path.to_owned()),
        None => running::socket(source)?,
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|error| (error.to_string(), Exit::Internal))?;
    let answered = runtime.block_on(running::live(&socket));
    answered.map_err(|error| (error, Exit::Unavailable))
}

/// Shows the state, once or until interrupted.
///
/// # Errors
/// The error to print, and its exit code.
pub fn run(options: &cli::Status, source: &Source) -> Result<(), (String, Exit)> {
    if options.live {
        return live(options.socket.as_deref(), source);
    }
    let address = running::address(options.address.as_ref(), source)?;
    let internal = |error: io::Error| (error.to_string(), Exit::Internal);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().map_err(internal)?;
    let path = if options.json {
        "status.json"
    } else {
        "status"
    };
    loop {
        let asked = runtime.block_on(running::get_soon(&address, path));
        let mut out = io::stdout().lock();
        if !options.watch {
            let shown = asked.map_err(|error| (error.to_string(), Exit::Unavailable))?;
            return written(out.write_all(shown.as_bytes()));
        }
        // A daemon that is down for a moment is what `--watch` is for.
        let shown = asked.unwrap_or_else(|error| format!("{error}\n"));
        let clear = if out.is_terminal() && !options.json {
            CLEAR
        } else {
            ""
        };
        let shown = write!(out, "{clear}{shown}").and_then(|()| out.flush());
        if shown.as_ref().is_err_and(is_enough) {
            return Ok(());
        }
        shown.map_err(internal)?;
        drop(out);
        thread::sleep(WATCH_EVERY);
    }
}
