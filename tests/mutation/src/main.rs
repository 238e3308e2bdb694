//! Mutation testing of the daemon's modules: every mutant that cargo-mutants lists, in one build.
//!
//! A build for each of some thousand mutants would take days. So a copy of the sources is built with all of them, and a
//! variable switches one on at run time. Needs `cargo install cargo-mutants`.
//!
//! ```sh
//! cargo run --release --manifest-path tests/mutation/Cargo.toml              # builds, runs the unit tests, prints the tables
//! cargo run --release --manifest-path tests/mutation/Cargo.toml -- again keys:: # the survivors alone, by tests that were added
//! cargo run --release --manifest-path tests/mutation/Cargo.toml -- suite calls:: keys::   # survivors by integration tests
//! cargo run --release --manifest-path tests/mutation/Cargo.toml -- slow      # survivors by unit tests that take seconds each
//! cargo run --release --manifest-path tests/mutation/Cargo.toml -- table     # prints the tables
//! ```
//!
//! The copy and what was found are kept in the directory that `MUTATION_DIR` names, or in `target/mutation`.

mod compile;
mod mutant;
mod report;
mod sources;
mod tests;

use std::env;
use std::fs;
use std::io::Result;
use std::path::{Path, PathBuf};

use compile::Built;
use mutant::Mutant;
use sources::Schemata;
use tests::{Found, Outcome, Program, Results, in_parallel, reaching};

/// What is mutated.
const DIRECTORIES: [&str; 5] = [
    "src/keys",
    "src/batch",
    "src/session",
    "src/vault",
    "src/grpc",
];
/// What of it is test code.
const TEST_CODE: [&str; 2] = ["src/keys/model", "src/keys/refresh/machine/snapshot"];
/// How many seconds of unit tests, as they take without it, a mutant is worth at first: those that take seconds each run
/// with `slow`.
const UNIT_BUDGET: f64 = 6.0;
/// How many seconds of integration tests, as they take without it, a mutant is worth.
const SUITE_BUDGET: f64 = 8.0;
/// The integration test that is run first: a quick one that uses almost everything.
const FIRST: &str = "calls::kms_v1_is_served_on_the_same_socket";
/// Which groups of integration tests are about which modules.
const RELATED: [(&str, &[&str]); 7] = [
    ("src/keys", &["keys", "status", "errors"]),
    ("src/keys/seed_cache", &["seed_cache"]),
    ("src/keys/local", &["seed_cache"]),
    ("src/batch", &["batching", "errors"]),
    ("src/session", &["authentication", "standby"]),
    ("src/vault", &["addresses", "tls", "errors"]),
    (
        "src/grpc",
        &["sockets", "peers", "hostile", "bounds", "failures"],
    ),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let run = Run::new()?;
    match arguments.first().map(String::as_str) {
        None => run.unit(false, UNIT_BUDGET, &[])?,
        Some("again") => run.unit(true, UNIT_BUDGET, &arguments[1..])?,
        Some("slow") => run.unit(true, f64::INFINITY, &arguments[1..])?,
        Some("suite") => run.suite(&arguments[1..])?,
        Some("table") => {}
        Some(other) => {
            return Err(std::io::Error::other(format!(
                "{other}: again, suite, slow or table"
            )));
        }
    }
    report::print(&run.mutants, &run.results);
    Ok(())
}

struct Run {
    repository: PathBuf,
    directory: PathBuf,
    mutants: Vec<Mutant>,
    results: Results,
}

impl Run {
    fn new() -> Result<Self> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .canonicalize()?;
        let directory =
            env::var_os("MUTATION_DIR").map_or(repository.join("target/mutation"), PathBuf::from);
        fs::create_dir_all(&directory)?;
        let mutants = mutant::list(&repository, &DIRECTORIES, &TEST_CODE)?;
        let results = Results::load(directory.join("results.json"))?;
        Ok(Self {
            repository,
            directory,
            mutants,
            results,
        })
    }

    fn is_unviable(&self, mutant: &Mutant) -> bool {
        matches!(self.results.get(&mutant.id), Some(Found::Unviable))
    }

    /// Builds until all mutants that are left compile: an error of types hides one of lifetimes.
    fn build(&self, target: &[&str]) -> Result<(Program, Schemata)> {
        let copy = self.directory.join("sources");
        // Integration tests wait rather than compute, and so do most slow ones.
        let threads = if target == ["--lib"] && !is_slow() {
            1
        } else {
            4
        };
        loop {
            let in_functions = self.mutants.iter().filter(|mutant| mutant.is_in_function);
            let left: Vec<_> = in_functions
                .filter(|mutant| !self.is_unviable(mutant))
                .collect();
            println!("building with {} mutants", left.len());
            let schemata = sources::write(&self.repository, &copy, &left)?;
            match compile::build(&copy, target, &schemata)? {
                Built::Program(path) => {
                    // Another build with the same target directory takes its name.
                    let kept = self.directory.join(target.join(""));
                    if fs::read(&path).ok() != fs::read(&kept).ok() {
                        fs::copy(path, &kept)?;
                        let traces = self.traces(target);
                        if traces.exists() {
                            fs::remove_dir_all(traces)?;
                        }
                    }
                    return Ok((
                        Program {
                            path: kept,
                            directory: copy,
                            threads,
                        },
                        schemata,
                    ));
                }
                Built::Unviable(numbers) => {
                    for mutant in self
                        .mutants
                        .iter()
                        .filter(|it| numbers.contains(&it.number))
                    {
                        self.results.set(&mutant.id, Found::Unviable)?;
                    }
                }
            }
        }
    }

    /// Where it is kept which functions the tests of a target reach.
    fn traces(&self, target: &[&str]) -> PathBuf {
        self.directory.join(format!("traces{}", target.join("")))
    }

    /// Runs the unit tests that reach a mutant's function; of these the ones whose names begin like that, if any are given.
    fn unit(&self, survivors_again: bool, budget: f64, names: &[String]) -> Result<()> {
        let (program, schemata) = self.build(&["--lib"])?;
        let tests = program.trace(names, &self.traces(&["--lib"]))?;
        println!("{} tests", tests.len());
        let open = self
            .mutants
            .iter()
            .filter(|mutant| schemata.functions.contains_key(&mutant.number));
        let open = open.filter(|mutant| match self.results.get(&mutant.id) {
            None => true,
            Some(found) => survivors_again && matches!(found, Found::Survived { .. }),
        });
        in_parallel(&open.collect::<Vec<_>>(), |mutant| {
            let function = &schemata.functions[&mutant.number];
            let reaching = reaching(&tests, function, |test| {
                (test.seconds < 1.0, common(&mutant.file, &test.name))
            });
            let outcome = program.try_mutant(mutant.number, &reaching, budget)?;
            let suite = match self.results.get(&mutant.id) {
                Some(Found::Survived { suite, .. }) => suite,
                _ => None,
            };
            let unit = reaching.len();
            let survived = Found::Survived { unit, suite };
            self.results.set(&mutant.id, found(outcome, survived))
        })
    }

    /// Runs the integration tests of these groups that reach a survivor's function, the quick ones first.
    fn suite(&self, groups: &[String]) -> Result<()> {
        let (program, schemata) = self.build(&["--test", "suite"])?;
        let tests = program.trace(groups, &self.traces(&["--test", "suite"]))?;
        println!("{} tests", tests.len());
        let open = self
            .mutants
            .iter()
            .filter_map(|mutant| match self.results.get(&mutant.id)? {
                Found::Survived { unit, suite: None } => Some((mutant, unit)),
                _ => None,
            });
        let mut open: Vec<_> = open.collect();
        open.sort_by_key(|(mutant, _)| {
            DIRECTORIES
                .iter()
                .position(|it| mutant.file.starts_with(it))
        });
        in_parallel(&open, |(mutant, unit)| {
            let function = &schemata.functions[&mutant.number];
            let reaching = reaching(&tests, function, |test| {
                is_related(&mutant.file, &test.name)
            });
            let outcome = program.try_mutant(mutant.number, &reaching, SUITE_BUDGET)?;
            let survived = Found::Survived {
                unit: *unit,
                suite: Some(reaching.len()),
            };
            self.results.set(&mutant.id, found(outcome, survived))
        })
    }
}

/// Whether slow unit tests are asked for.
fn is_slow() -> bool {
    env::args().nth(1).is_some_and(|it| it == "slow")
}

/// How many parts the path of a file has in common with that of a unit test.
fn common(file: &str, test: &str) -> usize {
    let file = file.trim_start_matches("src/").trim_end_matches(".rs");
    let parts = file.split('/').zip(test.split("::"));
    parts.take_while(|(one, other)| one == other).count()
}

/// Whether an integration test is the one that shows most faults, or one of those that are about the module of a file.
fn is_related(file: &str, test: &str) -> usize {
    let group = test.split("::").next().unwrap_or_default();
    let mut related = RELATED
        .iter()
        .filter(|(module, _)| file.starts_with(module));
    let is_related = related.any(|(_, groups)| groups.contains(&group));
    if test == FIRST {
        2
    } else {
        usize::from(is_related)
    }
}

fn found(outcome: Outcome, survived: Found) -> Found {
    match outcome {
        Outcome::Passed => survived,
        Outcome::Failed(test) => Found::Caught(test.unwrap_or_default()),
        Outcome::TimedOut => Found::TimedOut,
    }
}
