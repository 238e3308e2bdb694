//! What a user has of another plugin: a command line, and files of several forms, which are put together.

mod command_line;
mod manifest;
mod unit;
mod values;

use std::path::{Path, PathBuf};

use super::mounts::Mount;
use crate::cli;
use crate::commands::document::value::Value;
use crate::commands::document::{json, yaml};
use crate::commands::environment_file;
use crate::drop_in::Note;

/// More than any of these files has.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Everything that was read.
#[derive(Default)]
pub(super) struct Input {
    /// The program, if it is named.
    pub(super) program: Option<String>,
    /// The image, if it is named.
    pub(super) image: Option<String>,
    pub(super) arguments: Vec<String>,
    pub(super) variables: Vec<(String, String)>,
    pub(super) fields: Vec<(String, String)>,
    /// Where the files of a container are on the node.
    pub(super) mounts: Option<Vec<Mount>>,
    pub(super) working_directory: Option<PathBuf>,
    /// Whether it came from a pod.
    pub(super) is_pod: bool,
    /// Whether it came from the values of a Helm chart.
    pub(super) is_chart: bool,
    pub(super) notes: Vec<Note>,
    pub(super) errors: Vec<String>,
}

impl Input {
    /// Reads the command line and the files that the options name.
    ///
    /// # Errors
    /// If a file cannot be read, or its form is not known.
    pub(super) fn read(options: &cli::Convert) -> Result<Self, String> {
        if options.input.is_empty() && options.arguments.is_empty() {
            return Err(
                "nothing to convert: name a file with --input, or write the command line after --"
                    .to_owned(),
            );
        }
        let mut input = Self::default();
        for path in &options.input {
            let text = read(path)?;
            input
                .add(path, &text, options.from.as_deref())
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        command_line::add(options.arguments.clone(), &mut input);
        Ok(input)
    }

    /// Adds a file, by its form.
    fn add(&mut self, path: &Path, text: &str, from: Option<&str>) -> Result<(), String> {
        if text.lines().any(|line| line.trim() == "[Service]") {
            return unit::add(text, self);
        }
        if json::is_json(text.as_bytes()) {
            let value = json::read(text.as_bytes());
            let value = value.map_err(|line| format!("line {line}: is no JSON"))?;
            flatten("", &value, &mut self.fields);
            return Ok(());
        }
        let is_yaml = path
            .extension()
            .is_some_and(|it| it == "yaml" || it == "yml");
        match yaml::read(text.as_bytes()) {
            Ok(document) if matches!(document.value, Value::Map(_)) => {
                if let Some((key, line)) = document.repeated.first() {
                    return Err(format!("line {line}: {key} is given twice"));
                }
                self.add_document(&document.value, from)
            }
            Err(error) if is_yaml => Err(format!("line {}: {}", error.line, error.problem)),
            _ if is_environment(text) => {
                self.variables.extend(environment_file::parse(text));
                Ok(())
            }
            _ => {
                let words = command_line::words(text)?;
                command_line::add(words, self);
                Ok(())
            }
        }
    }

    fn add_document(&mut self, document: &Value, from: Option<&str>) -> Result<(), String> {
        match document.get("kind").and_then(Value::text) {
            Some(kind) => manifest::add(kind, document, from, self),
            None if document.get("configVersion").is_some() => {
                flatten("", document, &mut self.fields);
                Ok(())
            }
            None => {
                values::add(document, self);
                Ok(())
            }
        }
    }

    /// Something that this program cannot know the meaning of.
    fn error(&mut self, about: &str, cause: &str) {
        self.errors.push(format!("{about}: {cause}"));
    }

    fn note(&mut self, setting: &str, text: &str) {
        self.notes.push(Note {
            setting: setting.to_owned(),
            text: text.to_owned(),
        });
    }
}

fn read(path: &Path) -> Result<String, String> {
    let failed = |cause: String| format!("{}: {cause}", path.display());
    let size =
        std::fs::metadata(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    if size.len() > MAX_BYTES {
        return Err(failed("is too large to be settings".to_owned()));
    }
    std::fs::read_to_string(path).map_err(|error| failed(format!("cannot be read: {error}")))
}

/// Whether every line that says something is an assignment.
fn is_environment(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let says = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with(['#', ';']);
    let mut lines = text.lines().filter(says);
    lines.all(|line| {
        line.split_once('=')
            .is_some_and(|(name, _)| is_name(name.trim()))
    })
}

/// The scalars of a document, by their names with dots between.
fn flatten(prefix: &str, value: &Value, into: &mut Vec<(String, String)>) {
    if let Value::Map(entries) = value {
        for (key, value) in entries {
            let name = if prefix.is_empty() {
                key.clone()
            } else {
                format!("{prefix}.{key}")
            };
            flatten(&name, value, into);
        }
        return;
    }
    if let Some(text) = scalar(value) {
        into.push((prefix.to_owned(), text));
    }
}

/// A scalar as a text, a list with commas; `None` for null.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Map(_) => None,
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => {
            Some(number.map_or_else(|| "a fraction".to_owned(), |it| it.to_string()))
        }
        Value::Text(text) => Some(text.clone()),
        Value::List(items) => {
            let items: Vec<_> = items.iter().filter_map(scalar).collect();
            Some(items.join(","))
        }
    }
}
