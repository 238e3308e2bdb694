//! `config.toml`: each key with the setting that it comes from, and before them what changed.

use std::path::Path;

use crate::config;
use crate::drop_in::{Plugin, Translation, Value};

/// The tables in the order of docs/configuration.md.
const TABLES: [&str; 8] = [
    "socket", "vault", "transit", "auth", "admin", "drop_in", "log", "state",
];
/// What only a program under another name needs.
const LEFT_OUT: [&str; 1] = ["admin.listen"];

/// The text of the file.
pub(super) fn text(plugin: Plugin, translation: &Translation, install_dir: &Path) -> String {
    let mut lines = vec![format!(
        "# {}/config.toml of every control-plane node, converted from {plugin} by `vault-kms-plugin convert`.",
        install_dir.display()
    )];
    if !translation.notes.is_empty() {
        lines.push("#".to_owned());
        lines.push("# What changed:".to_owned());
        let notes = translation.notes.iter();
        lines.extend(notes.map(|note| format!("# - {}", one_line(&note.to_string()))));
    }
    for table in TABLES {
        add_table(table, plugin, translation, &mut lines);
    }
    lines.push(String::new());
    lines.join("\n")
}

fn add_table(table: &str, plugin: Plugin, translation: &Translation, lines: &mut Vec<String>) {
    let of_table = |value: &&Value| {
        let name = value.key.split_once('.').map_or("", |(table, _)| table);
        name == table && !is_left_out(value, plugin)
    };
    let values: Vec<_> = translation.values.iter().filter(of_table).collect();
    if !values.is_empty() {
        lines.extend([String::new(), format!("[{table}]")]);
    }
    if table == "drop_in" {
        lines.push(format!(
            "# As long as probes, monitoring or other nodes rely on {plugin}; then the table can be removed."
        ));
    }
    for value in values {
        lines.push(assignment(value, plugin));
    }
    if table == "transit" && !translation.decrypt_also.is_empty() {
        lines.extend([
            String::new(),
            format!("# Reads what {plugin} wrote, until everything is re-encrypted."),
            "[[transit.decrypt_also]]".to_owned(),
        ]);
        let keys = translation.decrypt_also.iter();
        lines.extend(
            keys.map(|(key, text)| format!("{key} = {}", toml::Value::from(text.as_str()))),
        );
    }
}

/// Whether a value is the default of this plugin, too, or is for a program under another name.
fn is_left_out(value: &Value, plugin: Plugin) -> bool {
    let is_its_format = value.key == "log.format" && value.origin == plugin.name();
    let is_off = value.key.starts_with("drop_in.") && value.text.is_empty();
    is_its_format || is_off || LEFT_OUT.contains(&value.key)
}

fn assignment(value: &Value, plugin: Plugin) -> String {
    let key = value.key.split_once('.').map_or(value.key, |(_, key)| key);
    let text = config::toml_value(value.key, &value.text);
    if value.origin == plugin.name() {
        return format!("{key} = {text} # the default of {plugin}");
    }
    format!("{key} = {text} # {}", value.origin)
}

/// A text without line breaks, which would end a comment.
pub(super) fn one_line(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(printable).collect()
}
