//! `check --fingerprint`: what nodes are compared by.

use std::io::{self, Write};
use std::path::PathBuf;

use super::super::{called, written};
use super::{Report, encryption, unit};
use crate::cli;
use crate::drop_in::Invocation;
use crate::system::Exit;

/// Prints it, and that of the EncryptionConfiguration if it is named.
pub(super) fn print(
    options: &cli::Check,
    file: Option<PathBuf>,
    called: Option<&Invocation>,
) -> Result<(), (String, Exit)> {
    let refused = |error: String| (error, Exit::Config);
    let mut report = Report::default();
    let source = match &options.unit {
        None => Some(called::source(file, called)),
        Some(unit) => unit::source(unit, file, false, &mut report),
    };
    let source = source.ok_or_else(|| {
        let steps: Vec<_> = report.steps().iter().map(ToString::to_string).collect();
        refused(steps.join("\n"))
    })?;
    let config = source
        .load()
        .map_err(|errors| refused(errors.to_string()))?;
    let mut shown = format!("configuration {}\n", config.shared_fingerprint());
    if let Some(path) = &options.encryption_config {
        let named = |error: &dyn std::fmt::Display| refused(format!("{}: {error}", path.display()));
        let text = std::fs::read(path).map_err(|error| named(&error))?;
        let hash = encryption::fingerprint(&text).map_err(|error| named(&error))?;
        shown.push_str(&format!("encryption-config {hash}\n"));
    }
    written(io::stdout().lock().write_all(shown.as_bytes()))
}
