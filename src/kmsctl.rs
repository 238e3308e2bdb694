//! `vault-kmsctl`: what an operator does with etcd, kube-apiserver and the key.

mod apiserver_manifest;
pub mod audit;
pub mod cli;
pub mod etcd_args;
pub mod inspect;
pub mod output;
mod vault_session;
mod words;

use std::process::ExitCode;

use crate::system::Exit;
use cli::{Cli, Command};

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
    };
    exit.unwrap_or_else(|failure| output::print_failure(&failure))
        .into()
}
