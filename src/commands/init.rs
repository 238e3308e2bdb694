//! `init`: from one set of answers to the files of a new installation: configuration, policy, the commands
//! for Vault, both steps of the EncryptionConfiguration, and what the platform needs.
//!
//! It talks to nobody. Everything is put together and checked before the first file is written, by what
//! the daemon and `check` would say of it; nothing that exists is overwritten.

mod answers;
pub mod auth;
mod configuration;
mod encryption;
pub(super) mod node_files;
pub(super) mod output;
pub mod platform;
mod questions;
mod steps;
pub(super) mod text;
mod vault_setup;

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use super::written;
use crate::cli;
use crate::system::Exit;
use answers::Answers;
use output::OutputFile;
use questions::Questions;

/// Asks what the command line leaves open, if `answers` is a terminal, writes the files and prints what to
/// do with them.
///
/// # Errors
/// The error to print, and its exit code.
pub fn run(options: &cli::Init) -> Result<(), (String, Exit)> {
    let stdin = io::stdin();
    let is_terminal = stdin.is_terminal();
    run_with(
        options,
        is_terminal.then(|| stdin.lock()),
        &mut io::stderr(),
    )
}

fn run_with(
    options: &cli::Init,
    terminal: Option<impl BufRead>,
    prompts: &mut impl Write,
) -> Result<(), (String, Exit)> {
    let questions = Questions::of(options);
    let options = match terminal {
        Some(terminal) if questions.is_open() => questions
            .ask(options, terminal, prompts)
            .map_err(|error| (format!("no answer: {error}"), Exit::Usage))?,
        _ => {
            questions.refuse().map_err(|error| (error, Exit::Usage))?;
            options.clone()
        }
    };
    let answers = Answers::try_new(&options).map_err(|errors| (errors.join("\n"), Exit::Usage))?;
    let plan = plan(&answers).map_err(|error| (error, Exit::Usage))?;
    let out = Path::new(options.one("out").unwrap_or_default());
    output::write(out, &plan.files).map_err(|error| (error.to_string(), Exit::Unavailable))?;
    let mut shown = format!("wrote {}:\n", out.display());
    for file in &plan.files {
        shown.push_str(&format!("  {:28} {}\n", file.name, file.about));
    }
    for warning in &plan.warnings {
        shown.push_str(&format!("warning: {warning}\n"));
    }
    let [readers, writer] = &plan.steps;
    shown.push_str(&format!(
        "fingerprint of the configuration: {}\n\
         fingerprint of the EncryptionConfiguration: {readers} in step 1, {writer} in step 2\n\n{}",
        plan.configuration,
        steps::of(&answers, out, &plan.configuration)
    ));
    written(io::stdout().lock().write_all(shown.as_bytes()))
}

/// What is written, and the fingerprints of it.
#[derive(Debug)]
struct Plan {
    files: Vec<OutputFile>,
    configuration: String,
    /// Of both steps of the EncryptionConfiguration.
    steps: [String; 2],
    /// What `check` would warn of.
    warnings: Vec<String>,
}

/// All files, checked.
fn plan(answers: &Answers) -> Result<Plan, String> {
    let (text, config) = configuration::of(answers)?;
    let (encryption, warnings) = encryption::files(answers, &config)?;
    let steps = encryption::fingerprints(&encryption);
    let about = "the configuration of the plugin, for every node";
    let mut files = vec![OutputFile::new("config.toml", about, text)];
    files.extend(vault_setup::files(answers));
    files.extend(encryption);
    files.extend(node_files::files(answers));
    Ok(Plan {
        files,
        configuration: config.shared_fingerprint(),
        steps,
        warnings,
    })
}
