//! Runs of many seeds. `SIM_SEEDS=from..to` chooses them, `SIM_SEED=n` prints the trace of one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::Command;
use std::time::{Duration, Instant};

use super::run::{BLOCK, run};

/// How long the seeds of each `cargo test` may take.
const BUDGET: Duration = Duration::from_secs(60);
/// How many seeds the next program runs.
const SHARE: u64 = 16;
const _: () = assert!(BLOCK.is_multiple_of(SHARE));

#[test]
#[ignore = "the program that the tests below start; by hand it runs the seeds of its environment"]
#[expect(clippy::print_stdout, reason = "it is read by the test that starts it")]
fn seeds_of_the_environment() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        if !text.contains("on request") {
            println!("{text}");
        }
    }));
    if let Ok(seed) = std::env::var("SIM_SEED") {
        let outcome = run(seed.parse().expect("a number"), true);
        println!("{outcome:#?}");
        return;
    }
    let Ok(seeds) = std::env::var("SIM_SEEDS") else {
        return;
    };
    let (from, to) = seeds.split_once("..").expect("from..to");
    let (from, to) = (from.parse().expect("from"), to.parse().expect("to"));
    for outcome in (from..to).map(|seed| run(seed, false)) {
        println!(
            "\nseed {} {:016x} {} {:?} {}",
            outcome.seed,
            outcome.hash,
            outcome.lines,
            outcome.counts,
            outcome.violations.join("; ")
        );
    }
}

/// Runs seeds in a program of their own. Returns for each its line.
fn lines_of(seeds: Range<u64>) -> BTreeMap<u64, String> {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .arg("simulation::tests::seeds_of_the_environment")
        .env("SIM_SEEDS", format!("{}..{}", seeds.start, seeds.end))
        .output()
        .expect("started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{seeds:?}: {text}");
    let line = |line: &str| {
        let rest = line.strip_prefix("seed ")?;
        let (seed, rest) = rest.split_once(' ')?;
        Some((seed.parse().ok()?, rest.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    let together = lines_of(0..20);
    assert_eq!(together.len(), 20);
    let mut again = lines_of(0..7);
    again.extend(lines_of(7..20));
    assert_eq!(together, again);
}

#[test]
fn no_seed_breaks_the_contract() {
    let began = Instant::now();
    let mut from = 0;
    let mut broken = Vec::new();
    while began.elapsed() < BUDGET {
        let lines = lines_of(from..from + SHARE);
        let found = lines.into_iter();
        broken.extend(found.filter(|(_, line)| line.contains("VIOLATION")));
        from += SHARE;
    }
    assert!(broken.is_empty(), "of {from} seeds: {broken:#?}");
}
