//! The JSON schema says of a configuration what the parser says: of the documents' configurations, of
//! wrong ones, and of every key with every type of value. What several keys mean together only the
//! parser knows.

mod values;
mod variables;

use std::fs;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value as Json;
use toml::{Table, Value};
use vault_kms_plugin::config::{Config, ConfigErrors, Fingerprint, Source};

use super::deployed;
use super::example::markdown::{Block, sections};
use crate::links::pages_below;

const BASE: &str = "[vault]\naddress = \"https://vault.example:8200\"\n[transit]\nkey = \"kms\"\n\
                    [auth]\nmethod = \"token\"\ntoken_file = \"/etc/token\"\n";
/// What is wrong with these is no single value.
const FOR_THE_PARSER_ALONE: [&str; 8] = [
    "approle-two-secrets.toml",
    "approle-wrapped.toml",
    "cert-missing.toml",
    "drop-in-combinations.toml",
    "drop-in-unnamed.toml",
    "empty.toml",
    "local-kek.toml",
    "short-tolerance.toml",
];
const METHODS: [&str; 6] = ["token", "kubernetes", "jwt", "approle", "userpass", "cert"];

fn parsed(table: &Table) -> Result<Config, ConfigErrors> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    fs::write(&file, table.to_string()).unwrap();
    let source = Source {
        file: Some(file),
        ..Source::default()
    };
    source.load()
}

/// The errors of the parser about this key, or about the form of the whole.
fn errors_about(table: &Table, key: &str) -> Vec<String> {
    let Err(errors) = parsed(table) else {
        return Vec::new();
    };
    let below = format!("{key}.");
    let errors = errors.iter().filter(|error| {
        error.key == key || error.key == "configuration" || error.key.starts_with(&below)
    });
    errors.map(ToString::to_string).collect()
}

struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
    text: Json,
}

impl Schema {
    fn read() -> Self {
        const NAME: &str = "http://schema.invalid/schema.json";
        let path = deployed("schema/vault-kms-plugin.schema.json");
        let text: Json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource(NAME, text.clone()).unwrap();
        let index = compiler.compile(NAME, &mut schemas).unwrap();
        Self {
            schemas,
            index,
            text,
        }
    }

    /// Why the schema refuses it.
    fn refusal(&self, table: &Table) -> Option<String> {
        let json = serde_json::to_value(table).unwrap();
        let outcome = self.schemas.validate(&json, self.index);
        outcome.err().map(|error| error.to_string())
    }

    /// Every key with its table, except those of a list's items.
    fn keys(&self) -> Vec<(String, Json)> {
        let mut keys = Vec::new();
        for (name, property) in self.text["properties"].as_object().unwrap() {
            match property["properties"].as_object() {
                Some(inner) => keys.extend(
                    inner
                        .iter()
                        .map(|(key, property)| (format!("{name}.{key}"), property.clone())),
                ),
                None => keys.push((name.clone(), property.clone())),
            }
        }
        keys
    }
}

fn base() -> Table {
    BASE.parse().unwrap()
}

/// Sets a key by its full name.
fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((name, key)) => {
            let inner = table.entry(name).or_insert_with(|| Table::new().into());
            inner.as_table_mut().unwrap().insert(key.to_owned(), value);
        }
    }
}

fn value(text: &str) -> Value {
    let table: Table = format!("it = {text}").parse().unwrap();
    table["it"].clone()
}

/// The base, with the tables and keys of another configuration.
fn merged(other: &Table) -> Table {
    let mut table = base();
    for (name, value) in other {
        match (value.as_table(), table.get_mut(name)) {
            (Some(inner), _) if inner.contains_key("method") => {
                table.insert(name.clone(), value.clone());
            }
            (Some(inner), Some(Value::Table(present))) => present.extend(inner.clone()),
            _ => {
                table.insert(name.clone(), value.clone());
            }
        }
    }
    table
}

fn the_configurations_of_the_documents_are_accepted_by_both() {
    let schema = Schema::read();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    pages_below(&root.join("docs"), &mut pages);
    let mut count = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = sections(&text).into_iter().flat_map(|it| it.blocks);
        for block in blocks {
            let Block::Code(language, text) = block else {
                continue;
            };
            if language != "toml" {
                continue;
            }
            count += 1;
            let table: Table = text.parse().unwrap();
            let shown = format!("{}:\n{text}", page.display());
            assert_eq!(schema.refusal(&table), None, "{shown}");
            if let Err(errors) = parsed(&merged(&table)) {
                // Users and groups of another host.
                let mut others = errors.iter();
                let all =
                    others.all(|error| error.cause.contains("does not exist on this machine"));
                assert!(all, "{shown}{errors}");
            }
        }
    }
    assert!(count > 10, "{count} configurations");
}

fn wrong_configurations_are_refused_by_both() {
    let schema = Schema::read();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/configuration");
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let table: Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        assert!(parsed(&table).is_err(), "{name}");
        let is_refused = schema.refusal(&table).is_some();
        assert_eq!(is_refused, !FOR_THE_PARSER_ALONE.contains(&name), "{name}");
    }
}

fn unknown_keys_are_refused_by_both() {
    let schema = Schema::read();
    assert_eq!(schema.refusal(&base()), None);
    assert!(parsed(&base()).is_ok());
    let tables = [
        "socket", "vault", "transit", "auth", "admin", "drop_in", "log", "health", "limits",
        "state",
    ];
    for name in tables.map(|table| format!("{table}.unknown")) {
        let mut table = base();
        set(&mut table, &name, Value::from("x"));
        assert!(schema.refusal(&table).is_some(), "{name}");
        assert_eq!(
            errors_about(&table, &name),
            [format!("{name}: unknown key")]
        );
    }
    let mut table = base();
    set(&mut table, "unknown", Value::from("x"));
    assert!(schema.refusal(&table).is_some());
    assert_eq!(errors_about(&table, "unknown"), ["unknown: unknown key"]);
}

fn every_key_takes_the_same_types_in_both() {
    let schema = Schema::read();
    let keys = schema.keys();
    assert!(keys.len() > 40, "{} keys", keys.len());
    for (name, _) in &keys {
        // A text may be wrong in other ways, and is read as other types in the environment.
        for text in ["true", "1", "1.5", "[]", "[[]]", "{}"] {
            let mut table = base();
            if name == "outage.local_kek" {
                set(&mut table, "outage.seed_cache", value("'memory'"));
            }
            set(&mut table, name, value(text));
            let refusal = schema.refusal(&table);
            let errors = errors_about(&table, name);
            assert_eq!(
                refusal.is_some(),
                !errors.is_empty(),
                "{name} = {text}: {refusal:?}, {errors:?}"
            );
        }
    }
}

fn keys_of_other_login_methods_are_refused_by_both() {
    let schema = Schema::read();
    let keys = schema.keys();
    let keys = keys.iter().filter(|(name, _)| name.starts_with("auth."));
    for (name, _) in keys.filter(|(name, _)| name != "auth.method") {
        for method in METHODS {
            let mut table = base();
            table.insert("auth".to_owned(), Table::new().into());
            set(&mut table, "auth.method", method.into());
            set(&mut table, name, "/a".into());
            let errors = errors_about(&table, name);
            let is_foreign = |error: &String| error.contains("only valid with auth.method");
            assert_eq!(
                schema.refusal(&table).is_some(),
                errors.iter().any(is_foreign),
                "{name} with {method}: {errors:?}"
            );
        }
    }
}

fn defaults_are_those_of_the_parser() {
    let schema = Schema::read();
    let shown = |table: &Table| {
        let config = parsed(table).unwrap();
        // How it came to be, not what it is.
        let config = Config {
            fingerprint: Fingerprint::default(),
            origins: Vec::new(),
            ..config
        };
        format!("{config:#?}")
    };
    let mut table = base();
    let mut count = 0;
    for (name, property) in schema.keys() {
        if let Some(default) = property.get("default") {
            let default = Value::try_from(default).unwrap();
            set(&mut table, &name, default);
            count += 1;
        }
    }
    assert!(count > 10, "{count} defaults");
    assert_eq!(shown(&table), shown(&base()));
}

tests! {
    [values, variables]
    plain the_configurations_of_the_documents_are_accepted_by_both;
    plain wrong_configurations_are_refused_by_both;
    plain unknown_keys_are_refused_by_both;
    plain every_key_takes_the_same_types_in_both;
    plain keys_of_other_login_methods_are_refused_by_both;
    plain defaults_are_those_of_the_parser;
}
