//! `status`: asks the running daemon how things stand, and shows it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

use crate::admin::report::{Key, Peer, Session, Version};
use crate::admin::{self, Report};
use crate::cli;
use crate::config::Source;
use crate::system::Exit;
use crate::vault;

/// How long the daemon may take: it asks nobody.
const LIMIT: Duration = Duration::from_secs(3);

/// How often `--watch` asks.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Why nothing can be shown.
#[derive(Debug, Error)]
pub enum StatusError {
    /// The admin address is turned off.
    #[error("admin.listen is empty: the daemon can be asked nowhere")]
    TurnedOff,
    /// Nobody answers.
    #[error(
        "{address} cannot be asked: {cause}; does vault-kms-plugin run, and with this configuration?"
    )]
    Unreachable {
        /// Where it was asked.
        address: String,
        /// What went wrong.
        cause: String,
    },
    /// What answers is something else.
    #[error("{address} does not answer as vault-kms-plugin does: {cause}")]
    Foreign {
        /// Where it was asked.
        address: String,
        /// What is wrong with the answer.
        cause: String,
    },
}

/// Shows how things stand, once or until it is interrupted.
///
/// # Errors
/// What to say, and the exit code for it.
pub fn run(options: &cli::Status) -> Result<(), (String, Exit)> {
    let source = Source::of_process(options.config.clone());
    let config = source
        .load()
        .map_err(|errors| (errors.to_string(), Exit::Config))?;
    let internal = |error: io::Error| (error.to_string(), Exit::Internal);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().map_err(internal)?;
    loop {
        let asked = runtime.block_on(ask(&config.admin));
        let shown = asked.map(|report| show(&report, options.json));
        let mut out = io::stdout().lock();
        if !options.watch {
            let shown = shown.map_err(|error| (error.to_string(), Exit::Unavailable))?;
            return out.write_all(shown.as_bytes()).map_err(internal);
        }
        // A daemon that is away for a moment is what is being watched for.
        let shown = shown.unwrap_or_else(|error| format!("{error}\n"));
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

fn show(report: &Report, json: bool) -> String {
    match json {
        // A report that was read can be written.
        true => serde_json::to_string(report).unwrap_or_default() + "\n",
        false => text(report, Timestamp::now()),
    }
}

/// Asks the daemon at this address.
///
/// # Errors
/// When it does not answer, or something else does.
pub async fn ask(address: &admin::Address) -> Result<Report, StatusError> {
    let unreachable = |error: reqwest::Error| StatusError::Unreachable {
        address: address.to_string(),
        cause: innermost(&error),
    };
    vault::install_provider();
    let mut client = reqwest::Client::builder().timeout(LIMIT).no_proxy();
    let url = match address {
        admin::Address::Off => return Err(StatusError::TurnedOff),
        admin::Address::Tcp(place) => format!("http://{place}/status"),
        admin::Address::Unix(path) => {
            client = client.unix_socket(path.as_path());
            "http://localhost/status".to_owned()
        }
    };
    let client = client.build().map_err(unreachable)?;
    let answer = client.get(url).send().await.map_err(unreachable)?;
    let foreign = |cause: String| StatusError::Foreign {
        address: address.to_string(),
        cause,
    };
    if !answer.status().is_success() {
        return Err(foreign(format!("it answers {}", answer.status())));
    }
    let body = answer.bytes().await.map_err(unreachable)?;
    serde_json::from_slice(&body).map_err(|error| foreign(error.to_string()))
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// For people, as of `now`: one line for each thing, what is wrong right below it.
#[must_use]
pub fn text(report: &Report, now: Timestamp) -> String {
    let mut out = String::new();
    let up = span(Duration::from_secs(report.uptime_seconds));
    let mut line = |name: &str, text: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<12}{}", text.replace(['\n', '\r'], " "));
    };
    line("plugin", format!("{}, up {up}", report.version));
    line(
        "ready",
        match &report.reason {
            None => "yes: kube-apiserver is told ok".to_owned(),
            Some(reason) => format!("NO: {reason}"),
        },
    );
    line("session", of_session(&report.session, now));
    if let Some(error) = &report.session.error {
        line("", format!("last error: {error}"));
    }
    of_key(&report.key, now, &mut line);
    let calls = &report.calls;
    line(
        "calls",
        format!(
            "{} in the last {} minutes, {} failed, {} waiting now",
            calls.all, calls.minutes, calls.failed, calls.waiting
        ),
    );
    match report.peers.is_empty() {
        true => line("connected", "nobody".to_owned()),
        false => {
            let peers: Vec<_> = report.peers.iter().map(of_peer).collect();
            line("connected", peers.join("; "));
        }
    }
    let reload = report.last_reload.as_ref();
    line(
        "last reload",
        match reload.map(|reload| (reload.at, &reload.refused)) {
            None => "none since the start".to_owned(),
            Some((at, None)) => format!("taken over {}", when(at, now)),
            Some((at, Some(reason))) => format!("REFUSED {}: {reason}", when(at, now)),
        },
    );
    out
}

fn of_session(session: &Session, now: Timestamp) -> String {
    let mut text = match (session.active, session.until) {
        (false, _) => format!("NONE, by {}", session.method),
        (true, None) => format!("by {}, without an end", session.method),
        (true, Some(until)) => format!(
            "by {}, until {until} ({})",
            session.method,
            when(until, now)
        ),
    };
    if let Some(next) = session.next_step {
        let what = if session.active {
            "renewed"
        } else {
            "next try"
        };
        let _ = write!(text, ", {what} {}", when(next, now));
    }
    text
}

fn of_key(key: &Key, now: Timestamp, line: &mut impl FnMut(&str, String)) {
    let version = |it: &Version| format!("version {} of {}, {}", it.version, it.created, it.key_id);
    match (&key.announced, &key.proven) {
        (None, None) => line("key", "NONE proven yet".to_owned()),
        (Some(announced), proven) => {
            line("key", format!("{}, announced", version(announced)));
            line("", announced.key_id_hash.clone());
            if let Some(proven) = proven.as_ref().filter(|&it| it != announced) {
                line(
                    "",
                    format!("{}, announced by the next Status", version(proven)),
                );
            }
        }
        (None, Some(proven)) => {
            line(
                "key",
                format!("{}, nobody asked for Status yet", version(proven)),
            );
            line("", proven.key_id_hash.clone());
        }
    }
    if let Some(success) = key.last_success {
        line("vault", format!("last success {}", when(success, now)));
    }
    if let Some(error) = &key.error {
        let kind = if key.verdict {
            "only an operator can mend it"
        } else {
            "last error"
        };
        line("", format!("{kind}: {error}"));
    }
}

fn of_peer(peer: &Peer) -> String {
    let process = match peer.pid {
        Some(pid) => format!("pid {pid} "),
        None => String::new(),
    };
    let Peer {
        uid,
        gid,
        connections,
        ..
    } = peer;
    format!("{process}uid {uid} gid {gid}: {connections}")
}

/// How far away.
fn when(moment: Timestamp, now: Timestamp) -> String {
    let seconds = moment.as_second() - now.as_second();
    let distance = span(Duration::from_secs(seconds.unsigned_abs()));
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("in {distance}"),
        _ => format!("{distance} ago"),
    }
}

fn span(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
