//! Builds the copy, without the mutants that do not compile.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::sources::Schemata;

/// What a build came to.
#[derive(Debug)]
pub enum Built {
    /// The program that runs the tests.
    Program(PathBuf),
    /// The mutants that do not compile.
    Unviable(BTreeSet<u32>),
}

/// Builds the tests of this target: `--lib` or `--test suite`.
pub fn build(copy: &Path, target: &[&str], schemata: &Schemata) -> Result<Built> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(copy).stderr(Stdio::null());
    cargo
        .args(["test", "--locked", "--no-run", "--message-format=json"])
        .args(target);
    let output = cargo.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let messages: Vec<_> = messages.collect();
    if output.status.success() {
        let programs = messages.iter().filter(|it| it["profile"]["test"] == true);
        let program = programs
            .filter_map(|it| it["executable"].as_str())
            .next_back();
        let program = program.ok_or_else(|| Error::other("cargo names no program"))?;
        return Ok(Built::Program(program.into()));
    }
    let mut unviable = BTreeSet::new();
    let mut unexplained = Vec::new();
    for message in messages
        .iter()
        .map(|it| &it["message"])
        .filter(|it| it["level"] == "error")
    {
        let guilty = guilty(message, schemata);
        if guilty.is_empty()
            && message["spans"]
                .as_array()
                .is_some_and(|spans| !spans.is_empty())
        {
            unexplained.push(message["rendered"].as_str().unwrap_or_default().to_owned());
        }
        unviable.extend(guilty);
    }
    if unviable.is_empty() {
        return Err(Error::other(format!(
            "the copy does not compile: {}",
            unexplained.join("\n")
        )));
    }
    Ok(Built::Unviable(unviable))
}

/// The mutants whose lines an error points at, and if it points at none, those that it mentions.
fn guilty(message: &Value, schemata: &Schemata) -> BTreeSet<u32> {
    let mut lines = BTreeMap::new();
    mentioned(message, &mut lines);
    let arms = |is_primary: bool| {
        let lines = lines
            .iter()
            .filter(move |(_, primary)| **primary == is_primary);
        let arms = lines.filter_map(|((file, line), _)| {
            let arms = schemata.arms.get(file)?;
            arms.iter()
                .find(|(lines, _)| lines.contains(line))
                .map(|(_, number)| *number)
        });
        arms.collect::<BTreeSet<_>>()
    };
    let primary = arms(true);
    if primary.is_empty() {
        arms(false)
    } else {
        primary
    }
}

/// The lines that a message mentions, and whether they are where the error is.
fn mentioned(value: &Value, lines: &mut BTreeMap<(String, usize), bool>) {
    match value {
        Value::Object(fields) => {
            if let (Some(file), Some(line)) =
                (value["file_name"].as_str(), value["line_start"].as_u64())
            {
                let line = (file.to_owned(), line as usize);
                *lines.entry(line).or_default() |= value["is_primary"] == true;
            }
            fields.values().for_each(|value| mentioned(value, lines));
        }
        Value::Array(values) => values.iter().for_each(|value| mentioned(value, lines)),
        _ => {}
    }
}
