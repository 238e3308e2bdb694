//! What the commands share: how they fail, and how they write.

use std::io::{self, ErrorKind, Write};

use crate::diagnosis::Diagnosis;
use crate::system::Exit;

/// Why a command has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong, and what to do.
    pub diagnosis: Diagnosis,
    /// The exit code.
    pub exit: Exit,
}

impl Failure {
    /// The input or the configuration is wrong.
    #[must_use]
    pub fn wrong_input(diagnosis: Diagnosis) -> Self {
        Self {
            diagnosis,
            exit: Exit::Config,
        }
    }

    /// A server cannot be reached, or refuses.
    #[must_use]
    pub fn unavailable(diagnosis: Diagnosis) -> Self {
        Self {
            diagnosis,
            exit: Exit::Unavailable,
        }
    }
}

/// The outcome of writing to stdout. The reader of a pipe, such as `head`, may have seen enough.
///
/// # Errors
/// If stdout cannot be written.
pub fn written(outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure {
            diagnosis: Diagnosis::new(format!("standard output: {error}")),
            exit: Exit::Internal,
        }),
        _ => Ok(()),
    }
}

/// Prints why a command failed.
#[must_use]
pub fn print_failure(failure: &Failure) -> Exit {
    // Nobody is left to read that stderr is closed.
    let _ = writeln!(io::stderr(), "vault-kmsctl: {}", failure.diagnosis);
    failure.exit
}
