//! `vault-kmsctl`: what an operator does with etcd, kube-apiserver and the key.

mod apiserver_manifest;
pub mod cli;
pub mod etcd_args;

use std::process::ExitCode;

use crate::system::Exit;

/// Reads the command line and runs the command.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match cli::Cli::read() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Ok.into()
            };
        }
    };
    match cli.command {}
}
