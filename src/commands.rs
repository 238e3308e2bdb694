//! The commands of the binary, one module each.

pub mod check;
pub mod prepare_dir;
pub mod reload;
mod running;
pub mod serve;
pub mod status;

use std::fmt::Display;

use crate::system::Exit;

/// Prints an error of a command, or of `serve` before it logs.
pub fn print_error(error: &dyn Display, exit: Exit) -> Exit {
    eprintln!("vault-kms-plugin: {error}");
    exit
}
