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
        Command::Audit(options) => audit::run(&options),
        Command::Inspect(options) => inspect::run(&options),
        Command::Migrate(args) => Ok(wait_for(async |stop| migrate::run(&args, stop).await)),
        Command::Rotate(args) => Ok(wait_for(async |stop| rotate::run(&args, stop).await)),
    };
    exit.unwrap_or_else(Problem::print).into()
}

/// Runs a command that a signal can stop: the first one asks it to, the second ends the process.
fn wait_for(command: impl AsyncFnOnce(CancellationToken) -> Exit) -> Exit {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = match builder.worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Problem::new(error.to_string(), Exit::Internal).print(),
    };
    let stop = CancellationToken::new();
    let exit = runtime.block_on(async {
        let signals = match SignalStream::register() {
            Ok(signals) => signals,
            Err(error) => return Problem::new(error.to_string(), Exit::Internal).print(),
        };
        tokio::select! {
            exit = command(stop.clone()) => exit,
            exit = stopped_twice(signals, &stop) => exit,
        }
    });
    runtime.shutdown_background();
    exit
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
