//! The mutants, as cargo-mutants lists them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::io::{Error, Result};
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, Stdio};

use quote::ToTokens;
use serde::Deserialize;
use syn::spanned::Spanned;
use syn::visit::Visit;

/// A change of one place of the sources.
#[derive(Debug, Clone)]
pub struct Mutant {
    /// Switches it on; 0 is none.
    pub number: u32,
    /// What it is: file, change and function. It stays the same when lines above it come or go.
    pub id: String,
    /// The file, relative to the repository.
    pub file: String,
    /// What is replaced.
    pub span: Span,
    /// With what.
    pub replacement: String,
    /// Whether it is in a function, and not in a constant.
    pub is_in_function: bool,
}

/// A part of a file.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Span {
    /// The first character.
    pub start: Position,
    /// The character after the last one.
    pub end: Position,
}

/// Counted from 1, in characters.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    file: String,
    function: Option<serde_json::Value>,
    span: Span,
    replacement: String,
}

/// The mutants of these directories, without those of the directories below them that are test code.
pub fn list(repository: &Path, directories: &[&str], test_code: &[&str]) -> Result<Vec<Mutant>> {
    let mut command = Command::new("cargo");
    command.current_dir(repository).stderr(Stdio::inherit());
    command.args(["mutants", "--list", "--json", "--no-config"]);
    for directory in directories {
        command.args([
            "-f",
            &format!("{directory}.rs"),
            "-f",
            &format!("{directory}/**"),
        ]);
    }
    for directory in test_code {
        command.args([
            "-e",
            &format!("{directory}.rs"),
            "-e",
            &format!("{directory}/**"),
        ]);
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(Error::other("cargo mutants --list fails: is it installed?"));
    }
    let listed: Vec<Listed> = serde_json::from_slice(&output.stdout)?;
    let mut test_code = HashMap::new();
    let mut production = Vec::new();
    for (number, listed) in (1..).zip(listed) {
        let lines = match test_code.entry(listed.file.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let text = fs::read_to_string(repository.join(&listed.file))?;
                unknown.insert(test_functions(&text)?)
            }
        };
        if !lines
            .iter()
            .any(|lines| lines.contains(&listed.span.start.line))
        {
            production.push((number, listed));
        }
    }
    let mut seen = HashMap::<String, u32>::new();
    let mutants = production.into_iter().map(|(number, listed)| {
        let name = without_position(&listed.name);
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        let id = match *count {
            1 => name,
            count => format!("{name} ({count})"),
        };
        Mutant {
            number,
            id,
            file: listed.file,
            span: listed.span,
            replacement: listed.replacement,
            is_in_function: listed.function.is_some(),
        }
    });
    Ok(mutants.collect())
}

/// The lines of the functions that only tests have. cargo-mutants knows `cfg(test)`, and not `cfg(all(test, …))`.
fn test_functions(text: &str) -> Result<Vec<RangeInclusive<usize>>> {
    #[derive(Default)]
    struct Found(Vec<RangeInclusive<usize>>);
    impl<'ast> Visit<'ast> for Found {
        fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
            let of_tests = |attribute: &syn::Attribute| {
                let condition = attribute.meta.to_token_stream().to_string();
                condition.starts_with("cfg") && condition.contains("(test ,")
            };
            if function.attrs.iter().any(of_tests) {
                let span = function.span();
                self.0.push(span.start().line..=span.end().line);
            }
        }
    }
    let mut found = Found::default();
    found.visit_file(&syn::parse_file(text).map_err(Error::other)?);
    Ok(found.0)
}

/// `src/keys.rs:12:5: replace …` without the line and the column.
fn without_position(name: &str) -> String {
    let (position, change) = name.split_once(": ").unwrap_or((name, ""));
    let file = position.split(':').next().unwrap_or_default();
    format!("{file}: {change}")
}

/// The byte of a position.
pub fn offset(text: &str, position: Position) -> usize {
    let lines = text.split_inclusive('\n').take(position.line - 1);
    let before: usize = lines.map(str::len).sum();
    let line = &text[before..];
    let column = line.char_indices().nth(position.column - 1);
    before + column.map_or(line.len(), |(byte, _)| byte)
}
