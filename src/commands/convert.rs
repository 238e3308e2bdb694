//! `convert`: from the settings of another plugin to our configuration, and what starts us on a node. The
//! provider's name and the socket stay as they are.
//!
//! Everything is put together and checked before the first file is written; nothing that exists is overwritten.
//! Secrets go into files of their own.

mod configuration;
mod detect;
mod environment;
mod input;
mod mounts;
mod node_files;
mod place;
mod secrets;

use std::io::{self, Write};
use std::path::Path;

use super::init::output::{self, OutputFile};
use super::written;
use crate::cli;
use crate::config::Config;
use crate::drop_in::{Host, Invocation, Translation};
use crate::system::Exit;
use input::Input;
use place::Place;

/// Converts what the options name, writes the files and prints what changed.
///
/// # Errors
/// The error to print, and its exit code.
pub fn run(options: &cli::Convert) -> Result<(), (String, Exit)> {
    let usage = |error: String| (error, Exit::Usage);
    let input = Input::read(options).map_err(usage)?;
    let plan = plan(options, input).map_err(usage)?;
    output::write(&options.out, &plan.files)
        .map_err(|error| (error.to_string(), Exit::Unavailable))?;
    written(io::stdout().lock().write_all(plan.shown.as_bytes()))
}

/// What is written, and what is said of it.
struct Plan {
    files: Vec<OutputFile>,
    shown: String,
}

fn plan(options: &cli::Convert, input: Input) -> Result<Plan, String> {
    let plugin = detect::plugin(options.from.as_deref(), &input)?;
    let place = Place::of(options, &input);
    let (carried, notes) = environment::carried(plugin, &input.variables);
    let invocation = Invocation {
        plugin,
        arguments: input.arguments,
        variables: input.variables.into_iter().collect(),
        fields: input.fields,
        host: Host {
            working_directory: options.working_dir.clone().or(input.working_directory),
            gid: None,
            has_ipv6: true,
        },
    };
    let mut translation = invocation.translate();
    refuse(&input.errors, &translation)?;
    translation.notes.extend(input.notes);
    translation.notes.extend(notes);
    mounts::to_host(&mut translation, &input.mounts);
    let mut files = secrets::move_out(&mut translation, &place.install_dir);
    place.adjust(&mut translation)?;
    let text = configuration::text(plugin, &translation, &place.install_dir);
    check(&text)?;
    let about = "the configuration";
    files.insert(0, OutputFile::new("config.toml", about, text));
    files.extend(node_files::files(&place, &translation, &carried));
    let shown = summary(&options.out, &files, &translation, &place);
    Ok(Plan { files, shown })
}

/// What was not understood is an error here: nobody reads a log.
fn refuse(errors: &[String], translation: &Translation) -> Result<(), String> {
    let mut all = errors.to_vec();
    all.extend(translation.errors.iter().map(ToString::to_string));
    all.extend(translation.not_understood.iter().map(ToString::to_string));
    if all.is_empty() {
        return Ok(());
    }
    Err(format!("nothing was written:\n{}", all.join("\n")))
}

/// Whether the daemon would accept the configuration.
fn check(text: &str) -> Result<(), String> {
    Config::parse(text).map(drop).map_err(|errors| {
        format!("nothing was written: the configuration would be wrong:\n{errors}")
    })
}

fn summary(out: &Path, files: &[OutputFile], translation: &Translation, place: &Place) -> String {
    let mut shown = format!("wrote {}:\n", out.display());
    for file in files {
        shown.push_str(&format!("  {:28} {}\n", file.name, file.about));
    }
    for note in &translation.notes {
        shown.push_str(&format!(
            "warning: {}\n",
            configuration::one_line(&note.to_string())
        ));
    }
    let socket = translation
        .value("socket.path")
        .map_or("", |it| it.text.as_str());
    let end = if socket.starts_with('@') {
        "unix:///"
    } else {
        "unix://"
    };
    shown.push_str(&format!(
        "The EncryptionConfiguration stays as it is: the name of its provider, and the endpoint {end}{socket}\n"
    ));
    shown.push_str(&place.next_steps(out));
    shown
}
