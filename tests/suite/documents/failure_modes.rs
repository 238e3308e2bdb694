//! docs/operations/failure-modes.md: each section has all of its fields, and names tests, alerts and
//! log events that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../../docs/operations/failure-modes.md");
const EVENTS: &str = include_str!("../../../docs/events.md");
const REASONS: &str = include_str!("../../../docs/reference/reasons.md");
const ALERTS: &str = include_str!("../../../deploy/monitoring/alerts.yaml");
/// Of each section, in this order.
const FIELDS: [&str; 6] = ["Noticed", "Plugin", "Remedy", "Start", "Data", "Tests"];
/// The page ends with rules, which are no failures.
const RULES: &str = "\n## Rules\n";

/// What can go wrong, and its fields.
#[derive(Debug)]
struct Row {
    title: String,
    fields: Vec<(String, String)>,
}

impl Row {
    fn field(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(field, _)| field == name);
        field.map_or("", |(_, text)| text)
    }

    /// What is wrong with it.
    fn faults(&self, tests: &BTreeSet<String>) -> Vec<String> {
        let mut faults = Vec::new();
        let names: Vec<_> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        if names != FIELDS || self.fields.iter().any(|(_, text)| text.is_empty()) {
            faults.push(format!("its fields are {names:?}"));
        }
        let named = code_spans(self.field("Tests"));
        if named.is_empty() {
            faults.push("no test".to_owned());
        }
        let unknown = named.into_iter().filter(|name| !tests.contains(*name));
        faults.extend(unknown.map(|name| format!("no test {name}")));
        let noticed = self.field("Noticed");
        let alerts = code_spans(noticed).into_iter();
        let alerts = alerts.filter(|span| span.starts_with("VaultKmsPlugin"));
        let unknown = alerts.filter(|alert| !ALERTS.contains(&format!("- alert: {alert}\n")));
        faults.extend(unknown.map(|alert| format!("no alert {alert}")));
        let events = noticed.split("log `").skip(1);
        let events = events.filter_map(|rest| rest.split('`').next());
        let unknown = events.filter(|event| !EVENTS.contains(&format!("\n| `{event}")));
        faults.extend(unknown.map(|event| format!("no event {event}")));
        let reasons = noticed.split("reason ").skip(1).flat_map(code_spans);
        let unknown = reasons.filter(|code| !REASONS.contains(&format!("\n| `{code}` |")));
        faults.extend(unknown.map(|code| format!("no reason {code}")));
        let title = &self.title;
        let faults = faults.into_iter();
        faults.map(|fault| format!("{title}: {fault}")).collect()
    }
}

fn code_spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The rows of a page in this form; text between a title and its first field is an explanation.
fn rows(text: &str) -> Vec<Row> {
    let failures = text.split(RULES).next().unwrap_or_default();
    let mut rows: Vec<Row> = Vec::new();
    for line in failures.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            let (title, fields) = (title.to_owned(), Vec::new());
            rows.push(Row { title, fields });
            continue;
        }
        let Some(row) = rows.last_mut() else {
            continue;
        };
        let field = line.strip_prefix("- ").and_then(|it| it.split_once(": "));
        if let Some((name, text)) = field {
            row.fields.push((name.to_owned(), text.to_owned()));
        } else if let Some((_, text)) = row.fields.last_mut() {
            text.push(' ');
            text.push_str(line.trim());
        }
    }
    rows
}

/// The tests of this suite by their full names, and the unit tests of `src/` by the names of their
/// functions.
fn known_tests() -> BTreeSet<String> {
    let suite = crate::tests().into_iter();
    let suite = suite.map(|test| test.name.strip_prefix("suite::").unwrap_or(test.name));
    let suite = suite.map(str::to_owned);
    let mut known: BTreeSet<_> = suite.collect();
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    for file in files {
        unit_tests(&fs::read_to_string(file).unwrap(), &mut known);
    }
    known
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Adds the functions that follow an attribute such as `#[test]` or `#[tokio::test(…)]`.
fn unit_tests(text: &str, found: &mut BTreeSet<String>) {
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        let attribute = line.strip_prefix("#[");
        if let Some(attribute) = attribute {
            is_test |= attribute.starts_with("test") || attribute.contains("::test");
            continue;
        }
        let function = line.strip_prefix("async ").unwrap_or(line);
        let function = function.strip_prefix("fn ");
        let name = function.and_then(|it| it.split(['(', '<']).next());
        if let Some(name) = name.filter(|_| is_test) {
            found.insert(name.to_owned());
        }
        is_test = false;
    }
}

fn every_failure_mode_names_tests_alerts_and_events_that_exist() {
    let rows = rows(PAGE);
    assert!(rows.len() > 60, "only {} rows were found", rows.len());
    let tests = known_tests();
    let faults = rows.iter().flat_map(|row| row.faults(&tests));
    let faults: Vec<_> = faults.collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

fn a_row_without_a_test_or_with_an_unknown_one_is_found() {
    let tests = BTreeSet::from(["a::test".to_owned()]);
    let faults = |noticed: &str, named: &str| {
        let page = format!(
            "## Group\n\n### It breaks\n\nAn explanation.\n\n- Noticed: {noticed}\n- Plugin: waits,\n  \
             and waits.\n- Remedy: wait: it ends.\n- Start: no.\n- Data: none.\n- Tests: {named}\n\
             {RULES}\n### Never\n\nDo it.\n"
        );
        let rows = rows(&page);
        assert_eq!(rows.len(), 1);
        rows[0].faults(&tests)
    };
    let good = "`VaultKmsPluginDown`; log `stopped`.";
    assert_eq!(faults(good, "`a::test`"), [""; 0]);
    assert_eq!(faults(good, "none"), ["It breaks: no test"]);
    let unknown = ["It breaks: no test other"];
    assert_eq!(faults(good, "`a::test`, `other`"), unknown);
    let found = faults("`VaultKmsPluginUp`; log `started`.", "`a::test`");
    let expected = [
        "It breaks: no alert VaultKmsPluginUp",
        "It breaks: no event started",
    ];
    assert_eq!(found, expected);
    let incomplete = rows("### It breaks\n\n- Tests: `a::test`\n")[0].faults(&tests);
    assert_eq!(incomplete, ["It breaks: its fields are [\"Tests\"]"]);
}

fn unit_tests_are_found_by_their_attribute() {
    let text = "fn helper() {}\n#[test]\nfn one() {}\n#[tokio::test(start_paused = true)]\n#[cfg(x)]\n\
                async fn two() {}\nfn other() {}\n";
    let mut found = BTreeSet::new();
    unit_tests(text, &mut found);
    assert_eq!(found, BTreeSet::from(["one".to_owned(), "two".to_owned()]));
}

tests! {
    plain every_failure_mode_names_tests_alerts_and_events_that_exist;
    plain a_row_without_a_test_or_with_an_unknown_one_is_found;
    plain unit_tests_are_found_by_their_attribute;
}
