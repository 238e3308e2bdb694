//! `vault-kmsctl`: what an operator does with etcd, kube-apiserver and the key.

pub mod announced;
mod apiserver_manifest;
pub mod audit;
pub mod cli;
pub mod cluster;
pub mod etcd_args;
mod etcd_view;
mod finish;
pub mod inspect;
pub mod migrate;
pub mod output;
pub mod rotate;
mod vault_session;
mod words;

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

use crate::system::{Exit, Signal, SignalStream};
use cli::{Cli, Command};
use output::Problem;

/// Reads the command line and runs the command.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            return exit.into();
        }
    };
    let exit = match cli.command {
        Command::Audit(options) => on_runtime(audit::run(&options)),
        Command::Inspect(options) => inspect::run(&options),
        Command::Migrate(args) => wait_for(async |stop| migrate::run(&args, stop).await),
        Command::Rotate(args) => wait_for(async |stop| rotate::run(&args, stop).await),
    };
    exit.unwrap_or_else(Problem::print).into()
}

/// Runs a command on two threads: reading goes on beside what is done with it.
fn on_runtime(command: impl Future<Output = Result<Exit, Problem>>) -> Result<Exit, Problem> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Problem::new(error.to_string(), Exit::Internal))?;
    let exit = runtime.block_on(command);
    runtime.shutdown_background();
    exit
}

/// Runs a command that a signal can stop: the first one asks it to, the second ends the process.
fn wait_for(command: impl AsyncFnOnce(CancellationToken) -> Exit) -> Result<Exit, Problem> {
    let stop = CancellationToken::new();
    on_runtime(async {
        let signals = SignalStream::register();
        let signals = signals.map_err(|error| Problem::new(error.to_string(), Exit::Internal))?;
        Ok(tokio::select! {
            exit = command(stop.clone()) => exit,
            exit = stopped_twice(signals, &stop) => exit,
        })
    })
}

async fn stopped_twice(mut signals: SignalStream, stop: &CancellationToken) -> Exit {
    loop {
        if signals.next().await == Signal::Stop {
            if stop.is_cancelled() {
                return Exit::Warned;
            }
            stop.cancel();
        }
    }
}
