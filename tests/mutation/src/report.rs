//! Prints what was found.

use crate::mutant::Mutant;
use crate::tests::{Found, Results};

/// The figures of a directory.
#[derive(Default)]
struct Row {
    not_run: usize,
    unviable: usize,
    caught: usize,
    timed_out: usize,
    survived: usize,
}

impl Row {
    fn add(&mut self, found: Option<&Found>) {
        let count = match found {
            None => &mut self.not_run,
            Some(Found::Unviable) => &mut self.unviable,
            Some(Found::Caught(_)) => &mut self.caught,
            Some(Found::TimedOut) => &mut self.timed_out,
            Some(Found::Survived { .. }) => &mut self.survived,
        };
        *count += 1;
    }

    fn print(&self, name: &str) {
        let caught = self.caught + self.timed_out;
        let run = caught + self.survived;
        let percent = if run == 0 {
            0.0
        } else {
            100.0 * caught as f64 / run as f64
        };
        println!(
            "| {name} | {run} | {caught} ({percent:.1} %) | {} | {} | {} | {} |",
            self.timed_out, self.survived, self.unviable, self.not_run
        );
    }
}

/// The survivors, and a table of the directories.
pub fn print(mutants: &[Mutant], results: &Results) {
    let mut rows: Vec<(&str, Row)> = Vec::new();
    let mut all = Row::default();
    for mutant in mutants {
        let found = results.get(&mutant.id);
        let directory = mutant
            .file
            .split('/')
            .nth(1)
            .unwrap_or_default()
            .trim_end_matches(".rs");
        if rows.iter().all(|(name, _)| *name != directory) {
            rows.push((directory, Row::default()));
        }
        for (_, row) in rows.iter_mut().filter(|(name, _)| *name == directory) {
            row.add(found.as_ref());
        }
        all.add(found.as_ref());
        let line = mutant.span.start.line;
        match found {
            Some(Found::Survived { unit, suite }) => {
                let suite = suite.map_or("not tried".to_owned(), |count| count.to_string());
                println!(
                    "survived, line {line}: {} [unit tests {unit}, integration tests {suite}]",
                    mutant.id
                );
            }
            None => println!("not run, line {line}: {}", mutant.id),
            Some(_) => {}
        }
    }
    println!("| | run | caught | of these by time | survived | do not compile | not run |");
    println!("|---|---|---|---|---|---|---|");
    for (name, row) in &rows {
        row.print(name);
    }
    all.print("all");
}
