//! docs/events.md and the code name the same events, with the same levels and fields, and the log
//! contains no others.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use vault_kms_plugin::telemetry::events;

const PAGE: &str = include_str!("../../docs/events.md");
/// What would write a line at INFO or above by itself.
const OTHER_WAYS: [&str; 4] = ["info!(", "warn!(", "error!(", "event!("];

/// An event's level and its fields, in alphabetical order.
type Events = BTreeMap<String, (String, Vec<String>)>;

fn of_the_code() -> Events {
    let kinds = events::ALL.iter().map(|kind| {
        let mut fields: Vec<_> = kind.fields.iter().map(|it| (*it).to_owned()).collect();
        fields.sort();
        (kind.text.to_owned(), (kind.level.to_owned(), fields))
    });
    kinds.collect()
}

fn of_the_page() -> Events {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    let event = |row: &str| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let fields = cells[2]
            .split(',')
            .map(|it| it.trim().trim_matches('`').to_owned());
        let mut fields: Vec<_> = fields.filter(|it| !it.is_empty()).collect();
        fields.sort();
        let text = cells[0].trim_matches('`').to_owned();
        (text, (cells[1].to_owned(), fields))
    };
    rows.map(event).collect()
}

/// Every line of the program, without its tests, that logs at INFO or above without an event type.
fn untyped_events(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            untyped_events(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("events.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            let lines = shipped.lines();
            let others = lines.filter(|line| OTHER_WAYS.iter().any(|way| line.contains(way)));
            found.extend(others.map(|line| format!("{}: {line}", path.display())));
        }
    }
}

fn the_page_lists_every_event_with_its_level_and_fields() {
    let (code, page) = (of_the_code(), of_the_page());
    assert_eq!(code.len(), events::ALL.len(), "two events have one text");
    for (text, event) in &code {
        let listed = page.get(text);
        assert_eq!(listed, Some(event), "docs/events.md on {text:?}");
    }
    let unknown: Vec<_> = page
        .keys()
        .filter(|text| !code.contains_key(*text))
        .collect();
    assert!(unknown.is_empty(), "docs/events.md lists {unknown:?}");
}

fn every_log_line_from_info_up_is_a_typed_event() {
    let mut found = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    untyped_events(&source, &mut found);
    assert!(found.is_empty(), "{found:#?}");
}

tests! {
    plain the_page_lists_every_event_with_its_level_and_fields;
    plain every_log_line_from_info_up_is_a_typed_event;
}
