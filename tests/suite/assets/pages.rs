//! The man pages have the sections that a reader expects, and name nothing that does not exist.

use std::fs;
use std::path::Path;

use clap::Parser;
use vault_kms_plugin::cli::Cli;
use vault_kms_plugin::kmsctl;

use super::deployed;
use super::example::markdown::{Block, sections};

/// Every page of a command has these.
const SECTIONS: [&str; 7] = [
    "NAME",
    "SYNOPSIS",
    "DESCRIPTION",
    "OPTIONS",
    "EXIT STATUS",
    "EXAMPLES",
    "SEE ALSO",
];

/// The names of the shipped pages, such as `vault-kms-plugin(8)`, and their texts.
fn shipped() -> Vec<(String, String)> {
    let entries = fs::read_dir(deployed("man")).unwrap();
    let page = |path: std::path::PathBuf| {
        let file = path.file_name().unwrap().to_str().unwrap();
        let (name, section) = file.rsplit_once('.').unwrap();
        (
            format!("{name}({section})"),
            fs::read_to_string(&path).unwrap(),
        )
    };
    entries.map(|entry| page(entry.unwrap().path())).collect()
}

fn every_page_of_a_command_has_its_sections() {
    let pages = shipped();
    for (name, text) in pages.iter().filter(|(name, _)| name.ends_with("(8)")) {
        let has = |section: &str| text.contains(&format!("\n.SH \"{section}\"\n"));
        let found = |section: &&str| has(section) || text.contains(&format!("\n.SH {section}\n"));
        for section in SECTIONS {
            assert!(found(&section), "{name} has no {section}");
        }
        let is_run = ["vault-kms-plugin(8)", "vault-kms-plugin-serve(8)"].contains(&name.as_str());
        for section in ["FILES", "ENVIRONMENT", "SIGNALS"] {
            assert!(!is_run || has(section), "{name} has no {section}");
        }
    }
    assert_eq!(pages.len(), 9 + 5);
}

fn every_page_that_is_named_is_shipped() {
    let pages = shipped();
    for (name, text) in &pages {
        let text = text.replace("\\-", "-").replace("\\fR", "");
        for (before, _) in text.match_indices("(8)").chain(text.match_indices("(5)")) {
            let start = text[..before].rfind(['\\', ' ', '\n']).unwrap();
            let word = text[start..before + 3].trim_start_matches("\\fB").trim();
            assert!(
                pages.iter().any(|(page, _)| page == word),
                "{name} names {word}, which is not shipped"
            );
        }
    }
}

/// The command lines of a page's examples.
fn examples(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    let page = sections(&fs::read_to_string(path.join(page)).unwrap());
    let examples = page.iter().find(|section| section.title == "Examples");
    let Some([Block::Table(rows)]) = examples.map(|section| section.blocks.as_slice()) else {
        panic!("the page has no table of examples");
    };
    assert!(rows.len() >= 5, "{} examples", rows.len());
    let lines = rows.iter().map(|row| row[0].trim_matches('`').to_owned());
    lines.collect()
}

/// Nothing is run: the parser alone accepts each.
fn every_example_is_a_command_line() {
    for line in examples("commands.md") {
        let parsed = Cli::try_parse_from(line.split(' '));
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
    }
    for line in examples("kmsctl.md") {
        let parsed = kmsctl::cli::Cli::try_parse_from(line.split(' '));
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
    }
}

tests! {
    plain every_page_of_a_command_has_its_sections;
    plain every_page_that_is_named_is_shipped;
    plain every_example_is_a_command_line;
}
