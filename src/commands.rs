//! The commands of the binary, one module each.

pub mod called;
pub mod check;
pub mod convert;
mod document;
mod environment_file;
pub mod init;
pub mod prepare_dir;
pub mod reload;
mod running;
pub mod serve;
pub mod status;

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::system::Exit;

/// Prints an error of a command, or of `serve` before it logs.
pub fn print_error(error: &dyn Display, exit: Exit) -> Exit {
    // Nobody is left to read that stderr is closed.
    let _ = writeln!(io::stderr(), "vault-kms-plugin: {error}");
    exit
}

/// The outcome of a command whose output was written.
fn written(outcome: io::Result<()>) -> Result<(), (String, Exit)> {
    match outcome {
        Err(error) if !is_enough(&error) => Err((error.to_string(), Exit::Internal)),
        _ => Ok(()),
    }
}

/// Whether the reader of a pipe, such as `head`, has seen enough.
fn is_enough(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}
