//! Reads raw values as what they should be, and collects every error with its key.

use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use super::error::{ConfigError, ConfigErrors};
use super::origin::Origin;
use super::raw::RawValue;
use crate::diagnosis::Diagnosis;

/// Collects errors. A value that could not be read is `None`, and its error was collected.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) errors: Vec<ConfigError>,
    /// Valid settings that an operator should know about.
    pub(super) warnings: Vec<String>,
    /// The values that came from variables of the environment.
    pub(super) origins: Vec<Origin>,
}

impl Reader {
    pub(super) fn error(&mut self, key: &str, problem: impl Into<Diagnosis>) {
        self.errors.push(ConfigError::new(key, problem));
    }

    /// Notes that a variable decided something: a key, or what `key` says. `value` is left out if it
    /// may hold a secret.
    pub(super) fn uses(&mut self, key: &str, variable: &str, value: Option<&str>) {
        let origin = Origin {
            key: key.to_owned(),
            variable: Some(variable.to_owned()),
            value: value.map(str::to_owned),
        };
        if !self.origins.contains(&origin) {
            self.origins.push(origin);
        }
    }

    /// The errors, each with the variable that its value came from.
    pub(super) fn into_errors(mut self) -> ConfigErrors {
        for error in &mut self.errors {
            let origin = self.origins.iter().find(|origin| origin.key == error.key);
            error.variable = origin.and_then(|origin| origin.variable.clone());
        }
        self.errors.into()
    }

    /// An error with a remedy.
    pub(super) fn error_with(&mut self, key: &str, cause: impl Into<String>, remedy: &str) {
        self.error(key, Diagnosis::new(cause).with_remedy(remedy));
    }

    /// The error of a key that is required.
    pub(super) fn missing(&mut self, key: &str, remedy: &str) {
        self.error_with(key, "is missing", remedy);
    }

    /// A text; empty counts as missing, like an unset variable of the environment.
    pub(super) fn text(&mut self, key: &str, value: RawValue) -> Option<String> {
        match value? {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text),
            other => {
                self.error(key, format!("is {}, expected a string", kind(&other)));
                None
            }
        }
    }

    /// A text that is parsed.
    pub(super) fn parsed<T, E: Into<Diagnosis>>(
        &mut self,
        key: &str,
        value: RawValue,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(key, value)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.error(key, error);
                None
            }
        }
    }

    /// The same for a required key; `remedy` says what to set it to.
    pub(super) fn required<T, E: Into<Diagnosis>>(
        &mut self,
        key: &str,
        value: RawValue,
        remedy: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let before = self.errors.len();
        let value = self.parsed(key, value, parse);
        if value.is_none() && self.errors.len() == before {
            self.missing(key, remedy);
        }
        value
    }

    pub(super) fn path(&mut self, key: &str, value: RawValue) -> Option<PathBuf> {
        self.parsed(key, value, absolute)
    }

    pub(super) fn bool(&mut self, key: &str, value: RawValue) -> Option<bool> {
        match value? {
            Value::Boolean(value) => Some(value),
            Value::String(text) if text == "true" => Some(true),
            Value::String(text) if text == "false" => Some(false),
            other => {
                self.error(key, format!("is {}, expected true or false", kind(&other)));
                None
            }
        }
    }

    pub(super) fn number(&mut self, key: &str, value: RawValue) -> Option<u32> {
        let number = match value? {
            Value::Integer(number) => u32::try_from(number).ok(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.error(key, "must be a non-negative integer");
        }
        number
    }

    pub(super) fn numbers(&mut self, key: &str, value: RawValue) -> Option<Vec<u32>> {
        let Value::Array(items) = value? else {
            self.error(key, "must be a list of numbers");
            return None;
        };
        let numbers: Vec<_> = items
            .into_iter()
            .map(|item| self.number(key, Some(item)))
            .collect();
        numbers.into_iter().collect()
    }

    /// A duration with its unit, such as `90s` or `10m`.
    pub(super) fn duration(&mut self, key: &str, value: RawValue) -> Option<Duration> {
        if let Some(Value::Integer(number)) = value {
            let remedy = format!("write \"{number}s\" or \"{number}m\"");
            self.error_with(key, "has no unit", &remedy);
            return None;
        }
        self.parsed(key, value, |text| {
            humantime::parse_duration(text).map_err(|error| {
                Diagnosis::new(format!("invalid duration {text:?}: {error}"))
                    .with_remedy("write a number and its unit, such as \"90s\"")
            })
        })
    }
}

/// The value, or the default if there is none or an empty one.
pub(super) fn or_default(value: RawValue, default: &str) -> RawValue {
    let value = value.filter(|value| value.as_str() != Some(""));
    value.or_else(|| Some(Value::from(default)))
}

/// A path that does not depend on the working directory of the process.
pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(format!("must be an absolute path, not {text:?}"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Boolean(_) => "a boolean",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}
