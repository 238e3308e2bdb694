//! `status`: shows the state of the running daemon.

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use reqwest::header;
use thiserror::Error;

use crate::admin;
use crate::cli;
use crate::config::Source;
use crate::system::Exit;
use crate::vault;

/// How long the daemon may take: it answers from memory.
const LIMIT: Duration = Duration::from_secs(3);
/// How often `--watch` asks.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Why no state can be shown.
#[derive(Debug, Error)]
pub enum StatusError {
    /// The admin server is turned off.
    #[error("admin.listen is empty: the daemon has no admin server")]
    TurnedOff,
    /// Nothing answers.
    #[error(
        "{address} cannot be reached: {cause}; does vault-kms-plugin run, and with this configuration?"
    )]
    Unreachable {
        /// The address of the admin server.
        address: String,
        /// What went wrong.
        cause: String,
    },
    /// Another server answers.
    #[error("{address} does not answer as vault-kms-plugin does: {cause}")]
    UnexpectedResponse {
        /// The address of the admin server.
        address: String,
        /// What is wrong with the answer.
        cause: String,
    },
}

/// Shows the state, once or until interrupted.
///
/// # Errors
/// The error to print, and its exit code.
pub fn run(options: &cli::Status, source: &Source) -> Result<(), (String, Exit)> {
    let config = source
        .load()
        .map_err(|errors| (errors.to_string(), Exit::Config))?;
    let internal = |error: io::Error| (error.to_string(), Exit::Internal);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().map_err(internal)?;
    loop {
        let asked = runtime.block_on(ask(&config.admin, options.json));
        let mut out = io::stdout().lock();
        if !options.watch {
            let shown = asked.map_err(|error| (error.to_string(), Exit::Unavailable))?;
            return out.write_all(shown.as_bytes()).map_err(internal);
        }
        // A daemon that is down for a moment is what `--watch` is for.
        let shown = asked.unwrap_or_else(|error| format!("{error}\n"));
        let clear = if out.is_terminal() && !options.json {
            CLEAR
        } else {
            ""
        };
        write!(out, "{clear}{shown}")
            .and_then(|()| out.flush())
            .map_err(internal)?;
        drop(out);
        thread::sleep(WATCH_EVERY);
    }
}

/// Requests the state from this address, as JSON or as text.
///
/// # Errors
/// If nothing answers, or another server does.
async fn ask(address: &admin::Address, json: bool) -> Result<String, StatusError> {
    let unreachable = |error: reqwest::Error| StatusError::Unreachable {
        address: address.to_string(),
        cause: vault::root_cause(&error),
    };
    vault::install_provider();
    let mut client = reqwest::Client::builder().timeout(LIMIT).no_proxy();
    let path = if json { "status.json" } else { "status" };
    let url = match address {
        admin::Address::Off => return Err(StatusError::TurnedOff),
        admin::Address::Tcp(place) => format!("http://{place}/{path}"),
        admin::Address::Unix(socket) => {
            client = client.unix_socket(socket.as_path());
            format!("http://localhost/{path}")
        }
    };
    let client = client.build().map_err(unreachable)?;
    let answer = client.get(url).send().await.map_err(unreachable)?;
    let foreign = |cause: String| StatusError::UnexpectedResponse {
        address: address.to_string(),
        cause,
    };
    if !answer.status().is_success() {
        return Err(foreign(format!("it answers {}", answer.status())));
    }
    match answer.headers().get(header::SERVER) {
        Some(name) if name == admin::SERVER => answer.text().await.map_err(unreachable),
        _ => Err(foreign("it is another server".to_owned())),
    }
}
