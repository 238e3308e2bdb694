//! The documents lead where they say: every relative link and anchor has a target, every page is a
//! chapter of the book and works in it, and docs/configuration.md has a heading for each key of the
//! configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Beside the pages of docs/.
const AT_THE_ROOT: [&str; 4] = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
];
/// More than one screen of introduction belongs into docs/.
const MAX_README_LINES: usize = 200;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Markdown files below a directory.
pub(super) fn pages_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages_below(&path, found);
        } else if path.extension().is_some_and(|it| it == "md") {
            found.push(path);
        }
    }
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> = AT_THE_ROOT.iter().map(|name| root().join(name)).collect();
    pages_below(&root().join("docs"), &mut pages);
    pages
}

/// The text without its fenced blocks and code spans, where a link is no link.
fn prose(text: &str) -> String {
    let mut is_fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        if is_fence || is_fenced {
            continue;
        }
        let outside = line.split('`').step_by(2);
        prose.push_str(&outside.collect::<Vec<_>>().join(" "));
        prose.push('\n');
    }
    prose
}

/// The targets of the links and pictures of a page.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1);
    targets
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect()
}

fn headings(text: &str) -> Vec<String> {
    let mut is_fenced = false;
    let mut headings = Vec::new();
    for line in text.lines() {
        is_fenced ^= line.starts_with("```");
        let title = line.trim_start_matches('#');
        if !is_fenced && title.len() < line.len() && title.starts_with(' ') {
            headings.push(title.trim().to_owned());
        }
    }
    headings
}

/// The anchors of a page, as GitHub and mdBook make them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for heading in headings(text) {
        let kept = heading.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            _ if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
            _ => None,
        });
        let anchor: String = kept.collect();
        let count = seen.entry(anchor.clone()).or_default();
        anchors.insert(match *count {
            0 => anchor,
            count => format!("{anchor}-{count}"),
        });
        *count += 1;
    }
    anchors
}

/// Why the link leads nowhere.
fn broken(page: &Path, text: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => page.to_owned(),
        _ => page.parent()?.join(file),
    };
    if !target.exists() {
        return Some("no such file".to_owned());
    }
    if anchor.is_empty() {
        return None;
    }
    let known = match file {
        "" => anchors(text),
        _ => anchors(&read(&target)),
    };
    (!known.contains(anchor)).then(|| "no such heading".to_owned())
}

fn every_link_has_a_target() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages() {
        let text = read(&page);
        let name = page.strip_prefix(root()).unwrap_or(&page).display();
        for link in links(&text) {
            count += 1;
            if let Some(reason) = broken(&page, &text, &link) {
                wrong.push(format!("{name}: {link}: {reason}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 50, "only {count} links were found");
}

fn every_page_is_a_chapter_of_the_book() {
    let docs = root().join("docs");
    let summary = links(&read(&docs.join("SUMMARY.md")));
    let chapters: BTreeSet<_> = summary.iter().map(|link| docs.join(link)).collect();
    let mut pages = Vec::new();
    pages_below(&docs, &mut pages);
    pages.retain(|page| !page.ends_with("SUMMARY.md"));
    let pages: BTreeSet<_> = pages.into_iter().collect();
    assert_eq!(chapters, pages);
}

/// mdBook copies nothing from outside docs/, and shows a diagram of Mermaid as its source.
fn every_chapter_works_in_the_book() {
    let docs = root().join("docs");
    let mut chapters = Vec::new();
    pages_below(&docs, &mut chapters);
    for chapter in chapters {
        let text = read(&chapter);
        let name = chapter.strip_prefix(root()).unwrap().display();
        assert!(!text.contains("```mermaid"), "{name}: mermaid");
        for link in links(&text).iter().filter(|it| !it.contains("://")) {
            let file = link.split('#').next().unwrap();
            let target = chapter.parent().unwrap().join(file);
            let target = target.canonicalize().unwrap_or(target);
            let is_inside = target.starts_with(docs.canonicalize().unwrap());
            assert!(is_inside, "{name}: {link} is outside of the book");
        }
    }
}

/// The fields of a struct of `src/config/raw.rs`, each with its type.
fn fields<'a>(source: &'a str, name: &str) -> Vec<(&'a str, &'a str)> {
    let start = format!("pub(super) struct {name} {{");
    let (_, rest) = source
        .split_once(&start)
        .unwrap_or_else(|| panic!("no struct {name}"));
    let (body, _) = rest.split_once('}').unwrap();
    let lines = body
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub(super) "));
    lines
        .filter_map(|line| line.trim_end_matches(',').split_once(": "))
        .collect()
}

/// The keys of `[auth]`, which a macro declares.
fn auth_keys(source: &str) -> Vec<&str> {
    let (_, rest) = source.split_once("\nauth_keys! {\n").unwrap();
    let (body, _) = rest.split_once("\n}").unwrap();
    let lines = body.lines();
    lines
        .filter_map(|line| Some(line.trim().split_once(':')?.0))
        .collect()
}

/// Adds the keys of a table, by their full names.
fn keys_of(source: &str, table: &str, prefix: &str, keys: &mut BTreeSet<String>) {
    if table == "Auth" {
        keys.extend(auth_keys(source).iter().map(|key| format!("{prefix}{key}")));
        return;
    }
    for (field, kind) in fields(source, table) {
        let key = format!("{prefix}{field}");
        let inner = kind
            .strip_prefix("Vec<")
            .and_then(|it| it.strip_suffix('>'));
        if kind == "RawValue" || inner.is_some() {
            keys.insert(key.clone());
        }
        if kind != "RawValue" {
            keys_of(source, inner.unwrap_or(kind), &format!("{key}."), keys);
        }
    }
}

fn every_key_of_the_configuration_has_its_heading() {
    let source = read(&root().join("src/config/raw.rs"));
    let mut keys = BTreeSet::new();
    keys_of(&source, "Raw", "", &mut keys);
    assert!(keys.contains("transit.decrypt_also.key") && keys.contains("auth.method"));
    let page = read(&root().join("docs/configuration.md"));
    let documented = page.lines().filter_map(|line| line.strip_prefix("### "));
    let documented: BTreeSet<_> = documented.map(str::to_owned).collect();
    assert_eq!(documented, keys);
}

fn the_readme_is_short() {
    let count = read(&root().join("README.md")).lines().count();
    assert!(count <= MAX_README_LINES, "README.md has {count} lines");
}

fn a_link_without_a_target_is_found() {
    let page = root().join("README.md");
    let text = "# A title, *with* `code`\n[a](#a-title-with-code) [b](#other) [c](nowhere.md)\n\
                ```\n[d](in a block)\n```\n`[e](in code)` [f](docs/SUMMARY.md#summary)\n";
    let reasons: Vec<_> = links(text)
        .iter()
        .filter_map(|link| broken(&page, text, link))
        .collect();
    assert_eq!(links(text).len(), 4);
    assert_eq!(reasons, ["no such heading", "no such file"]);
}

tests! {
    plain every_link_has_a_target;
    plain every_page_is_a_chapter_of_the_book;
    plain every_chapter_works_in_the_book;
    plain every_key_of_the_configuration_has_its_heading;
    plain the_readme_is_short;
    plain a_link_without_a_target_is_found;
}
