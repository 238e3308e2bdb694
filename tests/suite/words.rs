//! The project's language: words that the field does not use do not come back into the sources and
//! documents. `mend` is fix or remedy, `folder` is directory, `told` is logged or reported, and so on.

use std::fs;
use std::path::{Path, PathBuf};

/// Each is a metaphor, an archaism, or has a standard term.
const BANNED: [&str; 24] = [
    "mend", "mends", "mended", "mending", "anew", "folder", "folders", "dress", "dressed", "quiet",
    "news", "house", "room", "rooms", "weather", "stands", "told", "spurned", "doubt", "doubts",
    "doubted", "doubtful", "siege", "tidings",
];

/// What is written by hand, beside `src/`.
const PLACES: [&str; 12] = [
    "src",
    "tests/suite",
    "benches",
    "examples",
    "docs",
    "proto",
    "systemd",
    "deploy",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
];

fn files(path: PathBuf, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(&path).unwrap() {
            files(entry.unwrap().path(), found);
        }
    } else if path.extension().is_none_or(|it| it != "svg") && !path.ends_with("suite/words.rs") {
        found.push(path);
    }
}

/// The banned words of a text, with their lines. Parts of an identifier are words, too.
fn banned_in(text: &str) -> Vec<(usize, String)> {
    let lines = text.lines().enumerate();
    let words = lines.flat_map(|(index, line)| {
        // An option of other programs.
        let line = line.replace("--quiet", "");
        let words = line.split(|c: char| !c.is_ascii_alphabetic());
        let words: Vec<_> = words.map(str::to_ascii_lowercase).collect();
        words.into_iter().map(move |word| (index + 1, word))
    });
    words
        .filter(|(_, word)| BANNED.contains(&word.as_str()))
        .collect()
}

fn the_sources_and_documents_use_the_fields_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for place in PLACES {
        files(root.join(place), &mut found);
    }
    assert!(found.len() > 100, "{} files", found.len());
    let mut banned = Vec::new();
    for path in found {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let name = path.strip_prefix(root).unwrap_or(&path).display();
        let words = banned_in(&text).into_iter();
        banned.extend(words.map(|(line, word)| format!("{name}:{line}: {word}")));
    }
    assert!(banned.is_empty(), "{banned:#?}");
}

fn a_banned_word_is_found_in_prose_and_in_names() {
    let text = "let folder_path = 1;\n// It is Mended.\n// A recommended mender.";
    let found = banned_in(text);
    assert_eq!(found, [(1, "folder".to_owned()), (2, "mended".to_owned())]);
}

tests! {
    plain the_sources_and_documents_use_the_fields_words;
    plain a_banned_word_is_found_in_prose_and_in_names;
}
