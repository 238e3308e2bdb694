//! A value as the file has it.

use super::raw;

/// The value of a key as the file has it, from the text that a variable would have.
#[must_use]
pub fn toml_value(key: &str, text: &str) -> toml::Value {
    const IS_BOOL: &str = "vault.allow_plaintext";
    if key == IS_BOOL {
        return toml::Value::Boolean(text == "true");
    }
    let (table, name) = key.split_once('.').unwrap_or(("", key));
    match raw::value_of(table, name, text) {
        toml::Value::Array(items) if table == "socket" => {
            let number = |item: &toml::Value| item.as_str()?.parse::<i64>().ok();
            let numbers: Option<Vec<_>> = items.iter().map(number).collect();
            numbers.map_or(toml::Value::Array(items), toml::Value::from)
        }
        value => value,
    }
}
