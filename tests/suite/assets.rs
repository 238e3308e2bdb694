//! Man pages, completions and the JSON schema are those of the command line and the documents that
//! there are, and do what they are for.

#[path = "../../examples/assets.rs"]
#[expect(dead_code, reason = "its main is not run here")]
pub(super) mod example;

mod completions;
mod pages;
mod schema;

use std::fs;
use std::path::{Path, PathBuf};

const REMEDY: &str = "run `cargo run --example assets` and commit what it writes";

/// A file that is shipped.
fn deployed(name: &str) -> PathBuf {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    deploy.join(name)
}

fn generated_files_are_those_of_the_sources() {
    let assets = example::assets().unwrap();
    for (name, expected) in &assets {
        let path = deployed(name.to_str().unwrap());
        let found =
            fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: {REMEDY}", path.display()));
        assert!(
            found == *expected,
            "{} is out of date: {REMEDY}",
            path.display()
        );
    }
    for kind in ["completions", "man", "schema"] {
        let there = fs::read_dir(deployed(kind)).unwrap().count();
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
    [completions, pages, schema]
    plain generated_files_are_those_of_the_sources;
}
