//! Man pages and completions are those of the command line that there is.

#[path = "../../examples/assets.rs"]
#[expect(dead_code, reason = "its main is not run here")]
mod example;

use std::fs;
use std::path::Path;

const REMEDY: &str = "run `cargo run --example assets` and commit what it writes";

fn man_pages_and_completions_are_those_of_the_command_line() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let assets = example::assets().unwrap();
    for (name, expected) in &assets {
        let path = dir.join(name);
        let found =
            fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: {REMEDY}", path.display()));
        assert!(
            found == *expected,
            "{} is out of date: {REMEDY}",
            path.display()
        );
    }
    for kind in ["completions", "man"] {
        let there = fs::read_dir(dir.join(kind)).unwrap().count();
        let expected = assets
            .iter()
            .filter(|(name, _)| name.starts_with(kind))
            .count();
        assert_eq!(
            there, expected,
            "a file of deploy/{kind} is no longer written: {REMEDY}"
        );
    }
}

tests! {
    plain man_pages_and_completions_are_those_of_the_command_line;
}
