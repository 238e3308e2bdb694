//! The daemon's story: arguments, configuration, logging, signals, the actors, the exit code. And the
//! small commands beside it.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;
use vault_kms_plugin::cli::{self, Command};
use vault_kms_plugin::commands::check::{self, Style};
use vault_kms_plugin::commands::{prepare_dir, status};
use vault_kms_plugin::config::{Config, Source};
use vault_kms_plugin::grpc::PassedSocket;
use vault_kms_plugin::supervisor::Daemon;
use vault_kms_plugin::system::{self, Exit, SignalStream, notify};
use vault_kms_plugin::telemetry::{Telemetry, events};
use zeroizing_alloc::ZeroAlloc;

/// What is freed is wiped: tokens and seeds pass through buffers of libraries too. And it goes back
/// to the system within seconds, so that a flood leaves nothing behind.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<Jemalloc> = ZeroAlloc(Jemalloc);

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    match Command::read() {
        Ok(Command::Serve(options)) => start(Source::of_process(options.config)).into(),
        Ok(Command::Check(options)) => check(&options).into(),
        Ok(Command::Status(options)) => match status::run(&options) {
            Ok(()) => Exit::Ok.into(),
            Err((error, exit)) => say(&error, exit).into(),
        },
        Ok(Command::PrepareDir(options)) => {
            match prepare_dir::prepare(&options.dir, options.owner) {
                Ok(()) => Exit::Ok.into(),
                Err(error) => say(&error, Exit::Unavailable).into(),
            }
        }
        Err(error) => {
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { USAGE } else { 0 })
        }
    }
}

/// Takes what systemd passed, and reads the configuration.
fn start(source: Source) -> Exit {
    let passed = match PassedSocket::take() {
        Ok(passed) => passed,
        Err(error) => return say(&error, Exit::Config),
    };
    match source.load() {
        Ok(config) => serve(&config, source, passed),
        Err(errors) => {
            let problem = format!("the configuration is wrong, nothing was started:\n{errors}");
            say(&problem, Exit::Config)
        }
    }
}

/// Says what is to be said of a configuration.
fn check(options: &cli::Check) -> Exit {
    let report = match check::run(options) {
        Ok(report) => report,
        Err(error) => return say(&error, Exit::Internal),
    };
    match report.write(std::io::stdout().lock(), Style::of(options.json)) {
        Ok(()) => report.exit(options.strict),
        Err(error) => say(&error, Exit::Internal),
    }
}

/// Runs until a signal or a failure ends it.
fn serve(config: &Config, source: Source, passed: Option<PassedSocket>) -> Exit {
    let log = match Telemetry::start(config.log) {
        Ok(log) => log,
        Err(error) => return fail(&error, Exit::Internal),
    };
    if let Err(error) = system::harden() {
        return fail(&error, Exit::Internal);
    }
    // One thread: a call passes through four tasks, and with more threads they would wake each other
    // across cores, which takes longer than their work (docs/performance.md). What may block, such
    // as reading files, has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(config, source, &log, passed)),
        Err(error) => fail(&error, Exit::Internal),
    }
}

async fn run(
    config: &Config,
    source: Source,
    log: &Telemetry,
    passed: Option<PassedSocket>,
) -> Exit {
    let mut signals = match SignalStream::register() {
        Ok(signals) => signals,
        Err(error) => return fail(&error, Exit::Internal),
    };
    let mut daemon = match Daemon::start(config, source, log.handle(), passed).await {
        Ok(daemon) => daemon,
        Err(error) => return fail(&error, error.exit()),
    };
    // The socket listens, and that is all that kubelet, ordered after us, has to wait for.
    notify::ready();
    loop {
        tokio::select! {
            exit = daemon.ended() => return exit,
            signal = signals.next() => daemon.signal(signal),
        }
    }
}

fn fail(error: &dyn std::error::Error, exit: Exit) -> Exit {
    events::FatalError {
        error: error.to_string(),
    }
    .emit();
    exit
}

/// Tells an error before there is a log.
fn say(error: &dyn std::fmt::Display, exit: Exit) -> Exit {
    eprintln!("vault-kms-plugin: {error}");
    exit
}
