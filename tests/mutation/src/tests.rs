//! The tests of a program: which functions each reaches and how long it takes, and whether some of them fail.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File};
use std::io::{Error, Result};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How many programs run at a time, unless `MUTATION_WORKERS` says something else.
const WORKERS: usize = 2;
/// A mutant that needs this much more than the tests do without it is caught, too.
const PATIENCE: u32 = 5;
/// And this much for what other programs take of the processors.
const GRACE: Duration = Duration::from_secs(15);

/// A program with tests.
#[derive(Debug)]
pub struct Program {
    /// The file.
    pub path: PathBuf,
    /// The directory in which it runs.
    pub directory: PathBuf,
    /// How many tests it runs at a time.
    pub threads: usize,
}

/// What is known of a test.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// How long it takes alone.
    pub seconds: f64,
    /// The functions with mutants that it reaches.
    pub reached: BTreeSet<String>,
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// All tests passed.
    Passed,
    /// This one failed, or the program ended.
    Failed(Option<String>),
    /// They took too long.
    TimedOut,
}

impl Program {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// The tests that run without being asked for, and whose names begin with one of these.
    fn names(&self, prefixes: &[String]) -> Result<Vec<String>> {
        let list = |arguments: &[&str]| -> Result<BTreeSet<String>> {
            let output = self.command().args(arguments).output()?;
            let text = String::from_utf8_lossy(&output.stdout);
            let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
            Ok(names.map(str::to_owned).collect())
        };
        let ignored = list(&["--list", "--format=terse", "--ignored"])?;
        let mut names = list(&["--list", "--format=terse"])?;
        names.retain(|name| {
            let is_wanted = prefixes.is_empty() || prefixes.iter().any(|it| name.starts_with(it));
            is_wanted && !ignored.contains(name)
        });
        Ok(names.into_iter().collect())
    }

    /// Runs each test alone, without a mutant, unless it is known already. One that fails proves nothing, and is left out.
    pub fn trace(&self, prefixes: &[String], directory: &Path) -> Result<Vec<Test>> {
        fs::create_dir_all(directory)?;
        let names = self.names(prefixes)?;
        let tests = Mutex::new(Vec::new());
        in_parallel(&names, |name| {
            let known = directory.join(format!("{}.json", name.replace("::", ".")));
            if let Ok(json) = fs::read(&known) {
                lock(&tests).extend(serde_json::from_slice::<Option<Test>>(&json)?);
                return Ok(());
            }
            let trace = directory.join(name.replace("::", "."));
            let start = Instant::now();
            let limit = Duration::from_secs(300);
            let environment = [("MUTANT_TRACE", trace.display().to_string())];
            let outcome = self.run(&[name.as_str()], &environment, limit)?;
            let reached = fs::read_to_string(&trace).unwrap_or_default();
            let test = (outcome == Outcome::Passed).then(|| Test {
                name: name.clone(),
                seconds: start.elapsed().as_secs_f64(),
                reached: reached.lines().map(str::to_owned).collect(),
            });
            if test.is_none() {
                eprintln!("{name} fails without a mutant");
            }
            fs::write(&known, serde_json::to_vec(&test)?)?;
            lock(&tests).extend(test);
            Ok(())
        })?;
        let mut tests = tests
            .into_inner()
            .map_err(|_| Error::other("a worker panicked"))?;
        tests.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(tests)
    }

    /// Runs these tests with a mutant, in this order, until one fails, for as long as their times without it fit the budget.
    /// A test that passes when it is run again has failed for another reason.
    pub fn try_mutant(&self, number: u32, tests: &[&Test], budget: f64) -> Result<Outcome> {
        let environment = [("MUTANT", number.to_string())];
        let mut spent = 0.0;
        let mut rest = tests;
        while let Some(first) = rest.first() {
            let mut seconds = first.seconds;
            let mut count = 1;
            // The first one alone: most that is broken shows in any test.
            while let Some(next) = rest.get(count).filter(|_| spent > 0.0)
                && seconds + next.seconds < self.threads as f64
            {
                seconds += next.seconds;
                count += 1;
            }
            if spent > 0.0 && spent + seconds > budget {
                break;
            }
            let names: Vec<_> = rest[..count].iter().map(|it| it.name.as_str()).collect();
            let limit = GRACE + PATIENCE * Duration::from_secs_f64(seconds);
            let outcome = match self.run(&names, &environment, limit)? {
                Outcome::Failed(Some(test)) if spent > 0.0 => {
                    self.run(&[&test], &environment, limit)?
                }
                outcome => outcome,
            };
            if outcome != Outcome::Passed {
                return Ok(outcome);
            }
            spent += seconds;
            rest = &rest[count..];
        }
        Ok(Outcome::Passed)
    }

    fn run(
        &self,
        names: &[&str],
        environment: &[(&str, String)],
        limit: Duration,
    ) -> Result<Outcome> {
        let log = env::temp_dir().join(format!(
            "mutation-{}-{:?}",
            std::process::id(),
            thread::current().id()
        ));
        let output = File::create(&log)?;
        let mut command = self.command();
        let threads = format!("--test-threads={}", self.threads);
        command.args(["--exact", &threads]).args(names);
        for (name, value) in environment {
            command.env(name, value);
        }
        let mut child = command.stdout(output).stderr(Stdio::null()).spawn()?;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if start.elapsed() > limit {
                end(child.id())?;
                child.wait()?;
                return Ok(Outcome::TimedOut);
            }
            thread::sleep(Duration::from_millis(10));
        };
        if status.success() {
            return Ok(Outcome::Passed);
        }
        // What a test left behind.
        end(child.id())?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let failed = text
            .lines()
            .find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
        Ok(Outcome::Failed(failed.map(|test| test.trim().to_owned())))
    }
}

/// Ends a process and all that it started.
fn end(group: u32) -> Result<()> {
    let mut kill = Command::new("kill");
    kill.args(["-KILL", "--", &format!("-{group}")])
        .stderr(Stdio::null());
    kill.status().map(|_| ())
}

/// Those that a mutant in this function can make fail: by rank, and of the same rank the quick ones first.
pub fn reaching<'t, R: Ord>(
    tests: &'t [Test],
    function: &str,
    rank: impl Fn(&Test) -> R,
) -> Vec<&'t Test> {
    let reaching = tests.iter().filter(|test| test.reached.contains(function));
    let mut reaching: Vec<_> = reaching.collect();
    reaching.sort_by(|one, other| {
        let by_rank = rank(other).cmp(&rank(one));
        by_rank.then(one.seconds.total_cmp(&other.seconds))
    });
    reaching
}

/// Does this for each, a few at a time. While the file that `PAUSE_WHILE` names exists it starts no more.
pub fn in_parallel<T: Sync>(items: &[T], each: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = Mutex::new(items.iter());
    let pause = env::var_os("PAUSE_WHILE").map(PathBuf::from);
    let workers = env::var("MUTATION_WORKERS")
        .ok()
        .and_then(|it| it.parse().ok());
    let workers = workers.unwrap_or(WORKERS);
    thread::scope(|scope| {
        let worker = || -> Result<()> {
            loop {
                while pause.as_ref().is_some_and(|it| it.exists()) {
                    thread::sleep(Duration::from_secs(1));
                }
                let Some(item) = lock(&next).next() else {
                    return Ok(());
                };
                each(item)?;
            }
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let results = workers.into_iter().map(|it| it.join());
        let mut results =
            results.map(|it| it.unwrap_or_else(|_| Err(Error::other("a worker panicked"))));
        results.try_for_each(|result| result)
    })
}

/// The value, even if another worker panicked.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What is known of the mutants, by their ids; kept in a file.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    known: Mutex<BTreeMap<String, Found>>,
}

/// What is known of a mutant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Found {
    /// It does not compile.
    Unviable,
    /// This test of the library or of the suite fails.
    Caught(String),
    /// The tests take too long.
    TimedOut,
    /// No test that was tried fails.
    Survived {
        /// How many tests of the library reach its function.
        unit: usize,
        /// And how many of the suite; none if it was not tried.
        suite: Option<usize>,
    },
}

impl Results {
    /// Reads the file, if it is there.
    pub fn load(path: PathBuf) -> Result<Self> {
        let known = match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json)?,
            Err(_) => BTreeMap::new(),
        };
        Ok(Self {
            path,
            known: Mutex::new(known),
        })
    }

    /// What is known of this one.
    pub fn get(&self, id: &str) -> Option<Found> {
        lock(&self.known).get(id).cloned()
    }

    /// Remembers it.
    pub fn set(&self, id: &str, found: Found) -> Result<()> {
        let mut known = lock(&self.known);
        known.insert(id.to_owned(), found);
        let unfinished = self.path.with_extension("unfinished");
        fs::write(&unfinished, serde_json::to_vec_pretty(&*known)?)?;
        fs::rename(unfinished, &self.path)
    }
}
