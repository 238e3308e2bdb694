//! `serve`: runs the daemon: configuration, logging, signals, the actors, the exit code.

use std::error::Error;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use rustix::process::geteuid;

use super::prepare_dir::{self, Owner, PrepareError};
use super::print_error;
use crate::cli;
use crate::config::{Config, Source};
use crate::grpc::PassedSocket;
use crate::supervisor::Daemon;
use crate::system::{Exit, Hardened, SignalStream, notify};
use crate::telemetry::{Telemetry, events};

/// kube-apiserver, of whatever user, has to enter the directory; the socket has a mode of its own.
const SOCKET_DIR_MODE: u32 = 0o755;

/// Runs until a signal or a failure ends it.
pub fn run(options: &cli::Serve, source: Source, hardened: Hardened) -> Exit {
    if let Some(owner) = options.user
        && let Err(error) = become_owner(owner, &options.dir)
    {
        return print_error(&error, Exit::Unavailable);
    }
    if let Err(error) = make_socket_dir(&source) {
        return print_error(&error, Exit::Unavailable);
    }
    let passed = match PassedSocket::take() {
        Ok(passed) => passed,
        Err(error) => return print_error(&error, Exit::Config),
    };
    match source.load_trusted(Some(geteuid().as_raw())) {
        Ok(config) => with_runtime(&config, source, hardened, passed),
        Err(errors) => {
            let problem = format!("the configuration is wrong, nothing was started:\n{errors}");
            print_error(&problem, Exit::Config)
        }
    }
}

/// Before any thread, and before anything of the configuration is read.
fn become_owner(owner: Owner, dirs: &[PathBuf]) -> Result<(), PrepareError> {
    for dir in dirs {
        prepare_dir::prepare(dir, owner)?;
    }
    owner.become_it()
}

/// The directory that another plugin would make for its socket.
fn make_socket_dir(source: &Source) -> Result<(), String> {
    let Some(dir) = source.translation().creates else {
        return Ok(());
    };
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(SOCKET_DIR_MODE).create(&dir);
    made.map_err(|error| {
        format!(
            "{}: the directory of the socket cannot be made: {error}; make it, and let this user write there",
            dir.display()
        )
    })
}

/// What the settings of another plugin became.
fn log_translation(source: &Source) {
    if let Some(plugin) = source.plugin() {
        let translation = source.translation();
        let keys = translation.values.iter().map(|it| (it.key, it.origin));
        let secrets = translation.secrets.iter().map(|it| (it.key, it.origin));
        let settings: Vec<_> = keys
            .chain(secrets)
            .map(|(key, origin)| format!("{key} from {origin}"))
            .collect();
        events::SettingsTranslated {
            plugin: plugin.to_string(),
            settings: settings.join(", "),
        }
        .emit();
    }
}

fn with_runtime(
    config: &Config,
    source: Source,
    hardened: Hardened,
    passed: Option<PassedSocket>,
) -> Exit {
    // Dropped after the runtime: it writes the last log lines and exports the last spans.
    let log = match Telemetry::start(config.log) {
        Ok(log) => log,
        Err(error) => return print_error(&error, Exit::Internal),
    };
    hardened.report();
    log_translation(&source);
    // One thread: a call passes through four tasks, and with more threads they would wake each other
    // across cores, which takes longer than their work (docs/performance.md). What may block, such
    // as reading files, has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let exit = runtime.block_on(supervise(config, source, &log, passed));
            // Does not wait for blocking work: a name server or a mount that hangs must not hold up the end.
            runtime.shutdown_background();
            exit
        }
        Err(error) => log_fatal(&error, Exit::Internal),
    }
}

async fn supervise(
    config: &Config,
    source: Source,
    log: &Telemetry,
    passed: Option<PassedSocket>,
) -> Exit {
    let mut signals = match SignalStream::register() {
        Ok(signals) => signals,
        Err(error) => return log_fatal(&error, Exit::Internal),
    };
    let mut daemon = match Daemon::start(config, source, log.handle(), passed).await {
        Ok(daemon) => daemon,
        Err(error) => return log_fatal(&error, error.exit()),
    };
    // The socket listens; kubelet, which is ordered after the plugin, waits for nothing else.
    notify::ready();
    loop {
        tokio::select! {
            exit = daemon.ended() => return exit,
            signal = signals.next() => daemon.signal(signal),
        }
    }
}

fn log_fatal(error: &dyn Error, exit: Exit) -> Exit {
    events::FatalError {
        error: error.to_string(),
    }
    .emit();
    exit
}
