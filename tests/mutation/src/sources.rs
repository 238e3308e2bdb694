//! A copy of the sources with all mutants in it, of which a variable switches one on at run time.
//!
//! The body of a function with mutants becomes a `match`: an arm for each mutant, with the whole body and the one change,
//! and the body as it was. So nothing has to be known of the changed expression.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Error, Result};
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::process::Command;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::mutant::{Mutant, offset};

/// Is added to the library.
const SWITCH: &str = include_str!("switch.rs.txt");

/// What a mutant may do, and the sources may not.
const LINTS: &str = "#![allow(warnings, unconditional_panic, arithmetic_overflow)]";

/// Where the mutants are.
#[derive(Debug, Default)]
pub struct Schemata {
    /// The lines of each mutant, by file.
    pub arms: BTreeMap<String, Vec<(RangeInclusive<usize>, u32)>>,
    /// The function that each mutant is in, as it is named in a trace.
    pub functions: BTreeMap<u32, String>,
}

/// Writes the copy, with these mutants. A file that is as it has to be is left alone, so that cargo does not build it again.
pub fn write(repository: &Path, copy: &Path, mutants: &[&Mutant]) -> Result<Schemata> {
    let mut schemata = Schemata::default();
    let mut by_file = BTreeMap::<&str, Vec<&Mutant>>::new();
    for mutant in mutants {
        by_file.entry(&mutant.file).or_default().push(mutant);
    }
    for file in files(repository)? {
        let from = repository.join(&file);
        let to = copy.join(&file);
        if !from.is_file() {
            continue;
        }
        fs::create_dir_all(to.parent().unwrap_or(copy))?;
        let mut content = fs::read(&from)?;
        if let Some(mutants) = by_file.get(file.as_str()) {
            let text = String::from_utf8(content).map_err(Error::other)?;
            content = Writer::new(&file, &text, mutants)?
                .write(&mut schemata)
                .into_bytes();
        }
        if file == "src/lib.rs" {
            let text = String::from_utf8_lossy(&content);
            content = format!("{LINTS}\n{text}\n{SWITCH}").into_bytes();
        }
        if fs::read(&to).ok().as_ref() != Some(&content) {
            fs::write(&to, content)?;
            fs::set_permissions(&to, fs::metadata(&from)?.permissions())?;
        }
    }
    Ok(schemata)
}

/// What git knows, and what is new.
fn files(repository: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(repository);
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let output = git.output()?;
    let names = String::from_utf8(output.stdout).map_err(Error::other)?;
    Ok(names.split_terminator('\0').map(str::to_owned).collect())
}

/// The body of a function.
struct Body<'m> {
    /// The bytes, with the braces.
    range: Range<usize>,
    /// The file and the name of the function.
    function: String,
    mutants: Vec<&'m Mutant>,
}

/// The functions of a file with their bodies, an outer one before those that it contains.
#[derive(Default)]
struct Functions(Vec<(String, Range<usize>)>);

impl Functions {
    fn push(&mut self, name: &syn::Ident, body: &syn::Block) {
        let name = name.to_string();
        let same = self
            .0
            .iter()
            .filter(|(other, _)| other.split(' ').next() == Some(&name))
            .count();
        self.0
            .push((format!("{name} {same}"), body.span().byte_range()));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.push(&function.sig.ident, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.push(&function.sig.ident, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.push(&function.sig.ident, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// Writes one file.
struct Writer<'m> {
    file: &'m str,
    text: &'m str,
    bodies: Vec<Body<'m>>,
    written: String,
    line: usize,
    arms: Vec<(RangeInclusive<usize>, u32)>,
}

impl<'m> Writer<'m> {
    fn new(file: &'m str, text: &'m str, mutants: &[&'m Mutant]) -> Result<Self> {
        let mut functions = Functions::default();
        functions.visit_file(&syn::parse_file(text).map_err(Error::other)?);
        let bodies = functions.0.into_iter().map(|(name, range)| Body {
            range,
            function: format!("{file} {name}"),
            mutants: Vec::new(),
        });
        let mut bodies: Vec<_> = bodies.collect();
        for mutant in mutants {
            let start = offset(text, mutant.span.start);
            let mut inner_first = bodies.iter_mut().rev();
            if let Some(body) = inner_first.find(|body| body.range.contains(&start)) {
                body.mutants.push(mutant);
            }
        }
        Ok(Self {
            file,
            text,
            bodies,
            written: String::new(),
            line: 1,
            arms: Vec::new(),
        })
    }

    fn write(mut self, schemata: &mut Schemata) -> String {
        let bodies = std::mem::take(&mut self.bodies);
        self.part(0..self.text.len(), &bodies);
        for body in &bodies {
            let mutants = body.mutants.iter();
            schemata
                .functions
                .extend(mutants.map(|mutant| (mutant.number, body.function.clone())));
        }
        schemata.arms.insert(self.file.to_owned(), self.arms);
        self.written
    }

    fn push(&mut self, text: &str) {
        self.line += text.matches('\n').count();
        self.written.push_str(text);
    }

    /// A part of the file, with the bodies that it contains.
    fn part(&mut self, part: Range<usize>, mut bodies: &[Body<'_>]) {
        let mut done = part.start;
        while let Some((body, rest)) = bodies.split_first() {
            let within = rest
                .iter()
                .take_while(|it| it.range.start < body.range.end)
                .count();
            let (within, after) = rest.split_at(within);
            self.push(&self.text[done..body.range.start]);
            self.body(body, within);
            done = body.range.end;
            bodies = after;
        }
        self.push(&self.text[done..part.end]);
    }

    fn body(&mut self, body: &Body<'_>, within: &[Body<'_>]) {
        if body.mutants.is_empty() {
            return self.part(body.range.clone(), within);
        }
        self.push(&format!(
            "{{ match crate::mutant!(\"{}\") {{",
            body.function
        ));
        for mutant in &body.mutants {
            let start = offset(self.text, mutant.span.start);
            let end = offset(self.text, mutant.span.end);
            self.push("\n");
            let first = self.line;
            self.push(&format!(
                "{} => {}",
                mutant.number,
                &self.text[body.range.start..start]
            ));
            self.push(&mutant.replacement);
            self.push(&self.text[end..body.range.end]);
            self.arms.push((first..=self.line, mutant.number));
        }
        self.push("\n_ => ");
        self.part(body.range.clone(), within);
        self.push("\n} }");
    }
}
