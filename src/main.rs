//! The binary: reads the command line and runs the command.

#[cfg(not(feature = "jemalloc"))]
use std::alloc::System as Heap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

#[cfg(feature = "jemalloc")]
use tikv_jemallocator::Jemalloc as Heap;
use vault_kms_plugin::cli::{self, Cli, Command};
use vault_kms_plugin::commands::called::{self, Called};
use vault_kms_plugin::commands::check::{self, Style};
use vault_kms_plugin::commands::{convert, init, prepare_dir, print_error, reload, serve, status};
use vault_kms_plugin::config::Source;
use vault_kms_plugin::drop_in::Invocation;
use vault_kms_plugin::system::identity::Identity;
use vault_kms_plugin::system::{self, Exit};
use zeroizing_alloc::ZeroAlloc;

/// Wipes freed memory: tokens and seeds pass through buffers of libraries too. Returns it to the
/// system within seconds, so that a flood does not leave the process large.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<Heap> = ZeroAlloc(Heap);

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let hardened = match system::harden() {
        Ok(hardened) => hardened,
        Err(error) => return print_error(&error, Exit::Internal).into(),
    };
    let (arguments, called) = match Called::of_process() {
        Called::Ourselves(arguments) => (arguments, None),
        Called::Command(arguments, invocation) => (arguments, Some(invocation)),
        Called::Plugin(invocation) => return ExitCode::from(called::run(invocation, hardened)),
    };
    let called = called.as_ref();
    let cli = match Cli::read(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    if !matches!(
        cli.command,
        None | Some(
            Command::Serve(_) | Command::Init(_) | Command::Convert(_) | Command::PrepareDir(_)
        )
    ) && let Err(error) = Identity::join_the_daemon()
    {
        return print_error(&error, Exit::Unavailable).into();
    }
    let source = |file| called::source(file, called);
    let default = || Command::Serve(cli::Serve::default());
    let exit = match cli.command.unwrap_or_else(default) {
        Command::Serve(options) => serve::run(&options, Source::of_process(cli.config), hardened),
        Command::Init(options) => init::run(&options)
            .map_or_else(|(error, exit)| print_error(&error, exit), |()| Exit::Ok),
        Command::Convert(options) => convert::run(&options)
            .map_or_else(|(error, exit)| print_error(&error, exit), |()| Exit::Ok),
        Command::Check(options) if options.fingerprint => {
            check::print_fingerprint(&options, cli.config, called)
                .map_or_else(|(error, exit)| print_error(&error, exit), |()| Exit::Ok)
        }
        Command::Check(options) => check(&options, cli.config, called),
        Command::Status(options) => status::run(&options, &source(cli.config))
            .map_or_else(|(error, exit)| print_error(&error, exit), |()| Exit::Ok),
        Command::Reload(options) => reload::run(&options, &source(cli.config))
            .map_or_else(|(error, exit)| print_error(&error, exit), |()| Exit::Ok),
        Command::PrepareDir(options) => prepare_dir::prepare(&options.dir, options.owner)
            .map_or_else(
                |error| print_error(&error, Exit::Unavailable),
                |()| Exit::Ok,
            ),
    };
    exit.into()
}

/// Checks the configuration and prints the report.
fn check(options: &cli::Check, file: Option<PathBuf>, called: Option<&Invocation>) -> Exit {
    let report = match check::run(options, file, called) {
        Ok(report) => report,
        Err(error) => return print_error(&error, Exit::Internal),
    };
    match report.write(std::io::stdout().lock(), Style::of(options.json)) {
        // The reader of a pipe may have seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => report.exit(options.strict),
        Ok(()) => report.exit(options.strict),
        Err(error) => print_error(&error, Exit::Internal),
    }
}
