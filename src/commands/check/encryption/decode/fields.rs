//! The fields of an object, and what is wrong with them: of another type, unknown, given twice.

use super::super::refusal::{CORRECT_THE_FILE, Refusal, When};
use crate::commands::document::value::Value;

const TEXT: &str = "a string";
const INTEGER: &str = "an integer of 32 bits";

/// Collects what is wrong.
#[derive(Default)]
pub(super) struct Decoder {
    pub(super) refusals: Vec<Refusal>,
    /// Whether no version accepts the file.
    pub(super) is_fatal: bool,
}

/// The fields of one object.
pub(super) struct Fields<'a> {
    path: String,
    entries: &'a [(String, Value)],
}

impl Decoder {
    /// What only strict decoding refuses.
    pub(super) fn strict(&mut self, cause: String) {
        self.refusals
            .push(Refusal::new(When::Strict, cause, CORRECT_THE_FILE));
    }

    /// What every version refuses.
    pub(super) fn fatal(&mut self, cause: String, remedy: &str) {
        self.is_fatal = true;
        self.refusals.push(Refusal::always(cause, remedy));
    }

    /// The fields of an object, of which only these are known.
    pub(super) fn fields<'a>(
        &mut self,
        value: &'a Value,
        path: &str,
        known: &[&str],
    ) -> Fields<'a> {
        let entries: &[_] = match value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            other => {
                self.mismatch(path, "a mapping", other);
                &[]
            }
        };
        for (index, (key, _)) in entries.iter().enumerate() {
            if !known.contains(&key.as_str()) {
                let place = if path.is_empty() {
                    String::new()
                } else {
                    format!(" in {path}")
                };
                self.strict(format!("unknown field `{key}`{place}{}", hint(key, known)));
            } else if entries[..index].iter().any(|(earlier, _)| earlier == key) {
                self.strict(format!(
                    "the field `{key}` is given twice in {path}, of which older releases take the last"
                ));
            }
        }
        Fields {
            path: path.to_owned(),
            entries,
        }
    }

    /// A field that is an object, if it is given.
    pub(super) fn optional<T>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        read: impl FnOnce(&Value, &str, &mut Self) -> T,
    ) -> Option<T> {
        let value = fields.get(name)?;
        Some(read(value, &fields.path_of(name), self))
    }

    /// A list; it is empty if it is not given.
    pub(super) fn list<T>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        mut read: impl FnMut(&Value, &str, &mut Self) -> T,
    ) -> Vec<T> {
        let path = fields.path_of(name);
        match fields.get(name) {
            None => Vec::new(),
            Some(Value::List(items)) => {
                let numbered = items.iter().enumerate();
                numbered
                    .map(|(index, item)| read(item, &format!("{path}[{index}]"), self))
                    .collect()
            }
            Some(other) => {
                self.mismatch(&path, "a list", other);
                Vec::new()
            }
        }
    }

    /// A field that is a string, if it is given.
    pub(super) fn text(&mut self, fields: &Fields<'_>, name: &str) -> Option<String> {
        let value = fields.get(name)?;
        self.text_of(value, &fields.path_of(name))
    }

    /// The same of a value.
    pub(super) fn text_of(&mut self, value: &Value, path: &str) -> Option<String> {
        match value {
            Value::Text(text) => Some(text.clone()),
            Value::Null => None,
            other => {
                self.mismatch(path, TEXT, other);
                None
            }
        }
    }

    /// A field that is an integer of 32 bits, if it is given.
    pub(super) fn integer(&mut self, fields: &Fields<'_>, name: &str) -> Option<i64> {
        let value = fields.get(name)?;
        match value {
            Value::Number(Some(number)) if i32::try_from(*number).is_ok() => Some(*number),
            other => {
                self.mismatch(&fields.path_of(name), INTEGER, other);
                None
            }
        }
    }

    fn mismatch(&mut self, path: &str, wanted: &str, found: &Value) {
        let kind = match found {
            Value::Number(_) if wanted == INTEGER => "another number",
            found => found.kind(),
        };
        let place = if path.is_empty() { "it" } else { path };
        let cause =
            format!("it is not an EncryptionConfiguration: {place} has to be {wanted}, not {kind}");
        let remedy = match found {
            _ if path.ends_with(".timeout") => "correct that file: write `timeout: 3s`",
            Value::Bool(_) | Value::Number(_) if wanted == TEXT => {
                "correct that file: write the value in quotes, without which YAML takes it for another type"
            }
            _ => CORRECT_THE_FILE,
        };
        self.fatal(cause, remedy);
    }
}

impl Fields<'_> {
    /// The value that counts: the last, unless it is null.
    fn get(&self, name: &str) -> Option<&Value> {
        let mut entries = self.entries.iter().rev();
        let (_, value) = entries.find(|(key, _)| key == name)?;
        (!matches!(value, Value::Null)).then_some(value)
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}

/// The field that was meant, if only the case of its letters is another.
fn hint(key: &str, known: &[&str]) -> String {
    let mut known = known.iter();
    match known.find(|name| name.eq_ignore_ascii_case(key)) {
        Some(name) => format!(": it is written `{name}`, older releases ignore it"),
        None => String::new(),
    }
}
