//! docs/events.md and the code name the same events, with the same levels and fields.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/events.md");
const LEVELS: [&str; 3] = ["info", "warn", "error"];
/// Only in builds that a test makes.
const OF_TESTS: &str = "is not there to fail";

/// An event's level, and all fields that it ever has.
type Events = BTreeMap<String, (String, BTreeSet<String>)>;

/// Every `info!(…)`, `warn!(…)` and `error!(…)` below a folder.
fn of_the_code(folder: &Path, events: &mut Events) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            of_the_code(&path, events);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let shipped = text
                .split("#[cfg(test)]\nmod tests")
                .next()
                .unwrap_or_default();
            for level in LEVELS {
                for call in shipped.split(&format!("{level}!(")).skip(1) {
                    note(level, &arguments(call), events);
                }
            }
        }
    }
}

/// Up to the bracket that ends the call, cut at the commas between arguments.
fn arguments(call: &str) -> Vec<String> {
    let (mut arguments, mut depth, mut in_text) = (vec![String::new()], 0, false);
    for character in call.chars() {
        match character {
            '"' => in_text = !in_text,
            '(' if !in_text => depth += 1,
            ')' if !in_text && depth == 0 => break,
            ')' if !in_text => depth -= 1,
            ',' if !in_text && depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = arguments.last_mut() {
            last.push(character);
        }
    }
    let trimmed = arguments.iter().map(|it| it.trim().to_owned());
    trimmed.filter(|it| !it.is_empty()).collect()
}

fn note(level: &str, arguments: &[String], events: &mut Events) {
    let Some((message, fields)) = arguments.split_last() else {
        return;
    };
    let Some(message) = message
        .strip_prefix('"')
        .and_then(|it| it.strip_suffix('"'))
    else {
        panic!("an event without a text of its own: {arguments:?}");
    };
    if message == OF_TESTS {
        return;
    }
    let names = fields.iter().map(|field| {
        let name = field.split('=').next().unwrap_or_default();
        name.trim().trim_start_matches(['%', '?']).to_owned()
    });
    let event = events.entry(message.to_owned()).or_default();
    level.clone_into(&mut event.0);
    event.1.extend(names);
}

fn of_the_page() -> Events {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    let event = |row: &str| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let fields = cells[2]
            .split(',')
            .map(|it| it.trim().trim_matches('`').to_owned());
        let fields = fields.filter(|it| !it.is_empty()).collect();
        let message = cells[0].trim_matches('`').to_owned();
        (message, (cells[1].to_lowercase(), fields))
    };
    rows.map(event).collect()
}

#[test]
fn the_page_lists_every_event_with_its_level_and_fields() {
    let mut code = Events::new();
    of_the_code(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut code,
    );
    let page = of_the_page();
    for (message, event) in &code {
        assert_eq!(
            page.get(message),
            Some(event),
            "docs/events.md is wrong about {message:?}"
        );
    }
    for message in page.keys() {
        assert!(
            code.contains_key(message),
            "docs/events.md lists {message:?}, which is never logged"
        );
    }
}
