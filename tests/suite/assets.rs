//! Man pages and completions are those of the command line that there is.

#[path = "../../examples/assets.rs"]
#[expect(dead_code, reason = "its main is not run here")]
mod example;

use std::fs;
use std::path::Path;
use std::process::Command;

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

/// What bash completes after this line, whose last word is being typed.
fn completed(line: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/completions/vault-kms-plugin");
    let words: Vec<_> = line.split(' ').collect();
    let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
    let text = format!(
        "source {}\nCOMP_WORDS=({line})\n[ -n '{last}' ] || COMP_WORDS+=('')\nCOMP_CWORD={}\n\
         _vault__kms__plugin vault-kms-plugin '{last}' '{before}'\necho \"${{COMPREPLY[@]}}\"",
        script.display(),
        words.len() - 1,
    );
    let output = Command::new("bash").args(["--norc", "-c", &text]).output();
    let output = output.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

fn bash_completes_commands_and_their_options() {
    for (line, expected) in [
        ("vault-kms-plugin re", "reload"),
        ("vault-kms-plugin check --enc", "--encryption-config"),
        ("vault-kms-plugin status --w", "--watch"),
        ("vault-kms-plugin prepare-dir --o", "--owner"),
        ("vault-kms-plugin --config /a check --st", "--strict"),
    ] {
        assert_eq!(completed(line).trim(), expected, "{line:?}");
    }
    let all = completed("vault-kms-plugin ");
    for command in ["serve", "check", "status", "reload", "prepare-dir"] {
        assert!(all.contains(command), "{all}");
    }
}

tests! {
    plain bash_completes_commands_and_their_options;
    plain man_pages_and_completions_are_those_of_the_command_line;
}
