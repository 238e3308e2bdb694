//! The source layout: the files of `src/` import each other without circles, and the list of modules in
//! CONTRIBUTING.md repeats their documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// `["keys", "refresh"]` for `src/keys/refresh.rs`; empty for `src/lib.rs`.
type Module = Vec<String>;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every module of the directory, with its text; unit tests in files of their own are none.
fn modules_below(dir: &Path, parent: &[String], found: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name == "tests" {
            continue;
        }
        let module = if name == "lib" {
            Vec::new()
        } else {
            [parent, &[name]].concat()
        };
        if path.is_dir() {
            modules_below(&path, &module, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.insert(module, fs::read_to_string(&path).unwrap());
        }
    }
}

fn modules() -> BTreeMap<Module, String> {
    let mut found = BTreeMap::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    modules_below(&src, &[], &mut found);
    found
}

/// The paths of all `use` items, except those of unit tests.
fn imports(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines();
    let code = lines.map(|line| line.split("//").next().unwrap_or_default().trim());
    let code = code.collect::<Vec<_>>().join(" ");
    let code = code.split("#[cfg(test)] mod tests {").next().unwrap();
    let mut paths = Vec::new();
    for statement in code.split(';') {
        let Some((before, tree)) = statement.rsplit_once("use ") else {
            continue;
        };
        let is_tree = |c: char| c.is_ascii_alphanumeric() || "_:{}, *".contains(c);
        if (before.is_empty() || before.ends_with(' ')) && tree.chars().all(is_tree) {
            expand(tree, &[], &mut paths);
        }
    }
    paths
}

/// `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(tree: &str, prefix: &[String], paths: &mut Vec<Vec<String>>) {
    let (path, group) = match tree.split_once('{') {
        Some((path, rest)) => (path, rest.rsplit_once('}').map(|(group, _)| group)),
        None => (tree, None),
    };
    let path = path.split(" as ").next().unwrap_or_default();
    let segments = path.split("::").map(str::trim).filter(|it| !it.is_empty());
    let mut full = prefix.to_vec();
    full.extend(segments.map(str::to_owned));
    let Some(group) = group else {
        return paths.push(full);
    };
    let mut depth = 0;
    let parts = group.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    for part in parts.filter(|part| !part.trim().is_empty()) {
        expand(part, &full, paths);
    }
}

/// The other module of this crate whose file an import names. What a module re-exports counts as its own.
fn imported(from: &Module, path: &[String], all: &BTreeMap<Module, String>) -> Option<Module> {
    let first = path.first()?.as_str();
    let supers = path.iter().take_while(|it| *it == "super").count();
    let (base, rest) = match first {
        "crate" | "vault_kms_plugin" => (&[][..], &path[1..]),
        "super" => (&from[..from.len() - supers], &path[supers..]),
        "self" => (&from[..], &path[1..]),
        child if all.contains_key(&[&from[..], &[child.to_owned()]].concat()) => (&from[..], path),
        _ => return None,
    };
    let full = [base, rest].concat();
    let mut prefixes = (1..=full.len()).rev().map(|length| &full[..length]);
    let module = prefixes.find(|prefix| all.contains_key(*prefix))?;
    (module != &from[..]).then(|| module.to_vec())
}

/// The imports that are part of a circle.
fn circles(all: &BTreeMap<Module, String>) -> Vec<String> {
    let mut edges = BTreeMap::<_, BTreeSet<Module>>::new();
    for (from, text) in all {
        let paths = imports(text);
        let imported = paths.iter().filter_map(|path| imported(from, path, all));
        edges.insert(from.clone(), imported.collect());
    }
    let mut circles = Vec::new();
    for (from, imported) in &edges {
        for to in imported.iter().filter(|to| reaches(&edges, to, from)) {
            circles.push(format!("{} -> {}", from.join("/"), to.join("/")));
        }
    }
    circles
}

/// Whether imports lead from one module to another.
fn reaches(edges: &BTreeMap<Module, BTreeSet<Module>>, from: &Module, to: &Module) -> bool {
    let (mut reached, mut pending) = (BTreeSet::new(), vec![from]);
    while let Some(module) = pending.pop() {
        if reached.insert(module) {
            pending.extend(&edges[module]);
        }
    }
    reached.contains(to)
}

fn no_circle_of_imports_between_the_files_of_src() {
    let all = modules();
    assert!(all.len() > 100, "{} modules", all.len());
    let circles = circles(&all);
    assert!(
        circles.is_empty(),
        "move what both need into a file of its own: {circles:#?}"
    );
}

fn a_circle_is_found_whatever_its_imports_look_like() {
    let found = |files: &[(&str, &str)]| {
        let module = |name: &str| name.split('/').map(str::to_owned).collect();
        let files = files.iter();
        circles(
            &files
                .map(|(name, text)| (module(name), (*text).to_owned()))
                .collect(),
        )
    };
    let parent = (
        "a",
        "mod b;\npub use b::Other;\nuse std::fmt;\npub struct Thing;",
    );
    let sibling = found(&[parent, ("a/b", "use super::c;"), ("a/c", "")]);
    assert_eq!(sibling, [""; 0]);
    for child in [
        "use super::Thing;",
        "use super::{\n    Thing as It,\n    c::{d, e},\n};",
        "#[cfg(unix)]\nuse crate::a::Thing;",
        "/// In words.\npub(super) use crate::{a::Thing, x};",
    ] {
        let circle = found(&[parent, ("a/b", child), ("c", "use crate::a::Thing;")]);
        assert_eq!(circle, ["a -> a/b", "a/b -> a"], "{child}");
    }
    for child in [
        "// use super::Thing;\nuse super::b;",
        "let text = \"do not use it\";",
        "#[cfg(test)]\nmod tests {\n    use super::super::Thing;\n}",
    ] {
        assert_eq!(found(&[parent, ("a/b", child)]), [""; 0], "{child}");
    }
    let three = found(&[
        ("x", "use crate::y::Y;"),
        ("y", "use crate::z::{Y, Z};"),
        ("z", "use crate::x;"),
        ("end", "use crate::x;"),
    ]);
    assert_eq!(three, ["x -> y", "y -> z", "z -> x"]);
}

/// The first paragraph of a module's documentation, without links and without its own name.
fn documentation(text: &str, name: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    let lines = lines.map(str::trim).take_while(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join(" ");
    let mut plain = String::new();
    for (index, part) in text.split("[`").enumerate() {
        let link = part.split_once("`]").filter(|_| index > 0);
        let Some((name, rest)) = link else {
            plain.push_str(part);
            continue;
        };
        let target = rest.strip_prefix('(').and_then(|it| it.split_once(')'));
        let rest = target.map_or(rest, |(_, rest)| rest);
        plain.push_str(&format!("`{name}`{rest}"));
    }
    let own = format!("`{}`: ", name.replace('_', "-"));
    plain.strip_prefix(&own).unwrap_or(&plain).to_owned()
}

fn the_list_of_modules_repeats_their_documentation() {
    let all = modules();
    let text = read("CONTRIBUTING.md");
    let start = text.find("\n## Modules\n").unwrap();
    let list = &text[start..];
    let list = &list[..list.find("\n## A call\n").unwrap()];
    let mut parent = Module::new();
    let mut listed = BTreeSet::new();
    let mut parents = Vec::new();
    for line in list.lines() {
        let head = line
            .strip_prefix("**`src/")
            .and_then(|it| it.split_once(".rs`** "));
        let item = line.strip_prefix("- `").and_then(|it| it.split_once("`: "));
        let (module, said) = match (head, item) {
            (Some((path, said)), _) => {
                parent = path.split('/').map(str::to_owned).collect();
                parents.push(parent.clone());
                (parent.clone(), said.to_owned())
            }
            (_, Some((name, said))) => {
                let module = [&parent[..], &[name.to_owned()]].concat();
                (module, format!("{said}."))
            }
            _ => continue,
        };
        let path = module.join("/");
        let Some(text) = all.get(&module) else {
            panic!("src/{path}.rs is listed and does not exist");
        };
        let documented = documentation(text, module.last().unwrap());
        assert!(
            documented.starts_with(&said),
            "src/{path}.rs\nlist: {said}\ndocumentation: {documented}"
        );
        listed.insert(module);
    }
    assert!(listed.len() > 100, "{} modules", listed.len());
    for parent in parents {
        for module in all.keys() {
            let is_child = module.len() == parent.len() + 1 && module.starts_with(&parent);
            assert!(
                !is_child || listed.contains(module),
                "src/{}.rs is not listed",
                module.join("/")
            );
        }
    }
}

tests! {
    plain no_circle_of_imports_between_the_files_of_src;
    plain a_circle_is_found_whatever_its_imports_look_like;
    plain the_list_of_modules_repeats_their_documentation;
}
