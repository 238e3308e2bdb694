//! What the commands write, and how they end.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::diagnosis::Diagnosis;
use crate::system::Exit;

/// A command that failed: what to print, and its exit code.
#[derive(Debug)]
pub struct Problem {
    /// What went wrong, one line each.
    pub causes: Vec<Diagnosis>,
    /// The exit code.
    pub exit: Exit,
}

impl Problem {
    /// One cause.
    #[must_use]
    pub fn new(cause: impl Into<Diagnosis>, exit: Exit) -> Self {
        Self {
            causes: vec![cause.into()],
            exit,
        }
    }

    /// The input or the configuration is wrong.
    #[must_use]
    pub fn wrong_input(cause: Diagnosis) -> Self {
        Self::new(cause, Exit::Config)
    }

    /// A server cannot be reached, or refuses.
    #[must_use]
    pub fn unavailable(cause: Diagnosis) -> Self {
        Self::new(cause, Exit::Unavailable)
    }

    /// All causes on one line.
    #[must_use]
    pub fn text(&self) -> String {
        let causes: Vec<_> = self.causes.iter().map(ToString::to_string).collect();
        causes.join("; ")
    }

    /// Prints it.
    #[must_use]
    pub fn print(self) -> Exit {
        for cause in &self.causes {
            note(cause);
        }
        self.exit
    }
}

/// Writes a line to stderr.
pub fn note(text: &dyn Display) {
    // Nobody is left to read that stderr is closed.
    let _ = writeln!(io::stderr().lock(), "vault-kmsctl: {text}");
}

/// Writes a text to stdout.
///
/// # Errors
/// If that fails; that the reader of a pipe has seen enough is no failure.
pub fn print(text: &str) -> Result<(), Problem> {
    written(io::stdout().lock().write_all(text.as_bytes()))
}

/// The outcome of writing to stdout.
///
/// # Errors
/// As [`print()`].
pub fn written(outcome: io::Result<()>) -> Result<(), Problem> {
    match outcome {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let cause = format!("standard output: {error}");
            Err(Problem::new(cause, Exit::Internal))
        }
        _ => Ok(()),
    }
}
