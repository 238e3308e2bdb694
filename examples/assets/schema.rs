//! The JSON schema of the configuration file.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::keys::Key;
use super::markdown::{Block, Section, plain, spans};

/// The units of humantime; a fraction may follow the number.
const DURATION: &str = r"^(\s*([0-9][0-9\s]*(\.[0-9\s]+)?(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m|hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|months|month|M|years|year|yrs|yr|y)\s*)+)?$";
/// The numbers of users, groups and calls.
const MAX_NUMBER: u32 = u32::MAX;

/// The schema, in the draft that editors for TOML know.
pub(crate) fn schema(page: &[Section]) -> Value {
    let keys: Vec<_> = page.iter().filter_map(Key::of).collect();
    let mut tables: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for key in &keys {
        let properties = tables.entry(key.table()).or_default();
        properties.insert(key.own_name().to_owned(), property(key));
    }
    let mut nested: BTreeMap<&str, Value> = BTreeMap::new();
    let mut root = tables.remove("").unwrap_or_default();
    for (table, properties) in tables {
        nested.insert(table, object(properties));
    }
    // The items of a list of tables.
    let lists: Vec<_> = nested
        .keys()
        .copied()
        .filter(|it| it.contains('.'))
        .collect();
    for name in lists {
        let (Some(mut items), Some((table, key))) = (nested.remove(name), name.split_once('.'))
        else {
            continue;
        };
        items["required"] = json!(["key"]);
        nested
            .entry(table)
            .and_modify(|table| table["properties"][key]["items"] = items);
    }
    for (name, mut table) in nested {
        if name == "auth" {
            table["allOf"] = Value::Array(rules(&keys));
        }
        if let Some(text) = description_of_table(page, name) {
            table["description"] = json!(text);
        }
        root.insert(name.to_owned(), table);
    }
    let mut schema = object(root);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("Configuration of vault-kms-plugin");
    schema["description"] = json!(
        "Each key can also be set by the environment, which is why none is required here. \
         vault-kms-plugin check --offline also checks what several keys mean together."
    );
    schema
}

fn object(properties: Map<String, Value>) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

/// A key of another login method is an error.
fn rules(keys: &[Key<'_>]) -> Vec<Value> {
    let method = keys.iter().find(|key| key.name == "auth.method");
    let methods = method.map(|key| spans(key.kind)).unwrap_or_default();
    let rule = |method: &String| {
        let foreign = keys
            .iter()
            .filter(|key| !key.methods.is_empty() && !key.methods.contains(method));
        let foreign: Map<_, _> = foreign
            .map(|key| (key.own_name().to_owned(), Value::Bool(false)))
            .collect();
        json!({
            "if": { "properties": { "method": { "const": method } }, "required": ["method"] },
            "then": { "properties": foreign },
        })
    };
    methods.iter().map(rule).collect()
}

fn property(key: &Key<'_>) -> Value {
    let mut property = type_of(key);
    let mut description: Vec<_> = key.meaning.iter().filter_map(text_of).collect();
    if !key.methods.is_empty() {
        description.push(format!("Methods: {}.", key.methods.join(", ")));
    }
    description.push(format!("Default: {}.", plain(key.default).replace('`', "")));
    let environment = plain(key.environment).replace('`', "");
    description.push(format!("Environment: {environment}."));
    property["description"] = json!(description.join("\n\n"));
    if let Some(default) = key.default_value() {
        let is_text = property["type"] == "string" || property.get("enum").is_some();
        property["default"] = if is_text {
            json!(default.trim_matches('"'))
        } else {
            serde_json::from_str(default)
                .unwrap_or_else(|error| panic!("{}: default {default}: {error}", key.name))
        };
    }
    property
}

/// The types of the page. An empty string counts as unset.
fn type_of(key: &Key<'_>) -> Value {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let number =
        |least: u32, most: u32| json!({ "type": "integer", "minimum": least, "maximum": most });
    match key.kind {
        "string" => json!({ "type": "string" }),
        "boolean" => json!({ "type": "boolean" }),
        "duration" => text(DURATION),
        "octal mode" => text("^(0*[0-7]{0,2}[0145])?$"),
        "absolute path" => text("^(/.*)?$"),
        "absolute path, or `@name`" => text("^(/.*[^/]|@.+)?$"),
        "`unix:///path`, or absolute path" => text("^((unix:)?(///.*|/([^/].*)?))?$"),
        "IP address with port, `unix:/path`, or `\"\"`" => {
            text("^(unix:/.*|[0-9.]+:[0-9]+|\\[[0-9a-fA-F:.%]+\\]:[0-9]+)?$")
        }
        "IP address with port, or `\"\"`" => {
            text("^([0-9.]+:[0-9]+|\\[[0-9a-fA-F:.%]+\\]:[0-9]+)?$")
        }
        "address, or list of addresses" => {
            let address = text("^(https?://[^/]|unix:///)");
            json!({ "anyOf": [address, { "type": "array", "items": address, "minItems": 1 }] })
        }
        "list of integers" => json!({ "type": "array", "items": number(0, MAX_NUMBER) }),
        "list of tables" => json!({ "type": "array", "items": {} }),
        kind => {
            if let Some(values) = kind.strip_prefix("one of ") {
                let mut values = spans(values);
                values.push(String::new());
                return json!({ "type": "string", "enum": values });
            }
            let Some((least, most)) = bounds(kind) else {
                panic!("{}: no schema for the type {kind:?}", key.name);
            };
            number(least, most)
        }
    }
}

/// The bounds of an integer.
fn bounds(kind: &str) -> Option<(u32, u32)> {
    let bounds = kind.strip_prefix("integer")?;
    if let Some(least) = bounds.strip_prefix(", at least ") {
        return Some((least.parse().ok()?, MAX_NUMBER));
    }
    let (least, most) = bounds.strip_prefix(" from ")?.split_once(" to ")?;
    Some((least.parse().ok()?, most.parse().ok()?))
}

fn description_of_table(page: &[Section], name: &str) -> Option<String> {
    let title = format!("[{name}]");
    let section = page.iter().find(|section| section.title == title)?;
    section.blocks.first().and_then(text_of)
}

fn text_of(block: &Block) -> Option<String> {
    match block {
        Block::Paragraph(text) => Some(plain(text)),
        _ => None,
    }
}
