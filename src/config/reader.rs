//! Reads leaves as what they should be and collects every error with its key.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use super::raw::Leaf;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    key: String,
    problem: String,
}

/// All that is wrong; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

/// Collects errors; what could not be read is `None` and was reported.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) errors: Vec<ConfigError>,
}

impl ConfigError {
    pub(super) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            problem: problem.into(),
        }
    }
}

impl From<Vec<ConfigError>> for ConfigErrors {
    fn from(errors: Vec<ConfigError>) -> Self {
        Self(errors)
    }
}

impl ConfigErrors {
    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl Reader {
    pub(super) fn refuse(&mut self, key: &str, problem: impl fmt::Display) {
        self.errors.push(ConfigError::new(key, problem.to_string()));
    }

    /// A text; empty counts as missing, as an unset variable of the environment does.
    pub(super) fn text(&mut self, key: &str, leaf: Leaf) -> Option<String> {
        match leaf? {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text),
            other => {
                self.refuse(key, format!("is {}, expected a string", kind(&other)));
                None
            }
        }
    }

    /// A text that `parse` makes something of.
    pub(super) fn parsed<T, E: fmt::Display>(
        &mut self,
        key: &str,
        leaf: Leaf,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(key, leaf)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(key, error);
                None
            }
        }
    }

    /// The same, where the key has to be there; `why` says what it is for.
    pub(super) fn required<T, E: fmt::Display>(
        &mut self,
        key: &str,
        leaf: Leaf,
        why: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let before = self.errors.len();
        let value = self.parsed(key, leaf, parse);
        if value.is_none() && self.errors.len() == before {
            self.refuse(key, format!("is missing: {why}"));
        }
        value
    }

    pub(super) fn path(&mut self, key: &str, leaf: Leaf) -> Option<PathBuf> {
        self.parsed(key, leaf, absolute)
    }

    pub(super) fn flag(&mut self, key: &str, leaf: Leaf) -> Option<bool> {
        match leaf? {
            Value::Boolean(flag) => Some(flag),
            Value::String(text) if text == "true" => Some(true),
            Value::String(text) if text == "false" => Some(false),
            other => {
                self.refuse(key, format!("is {}, expected true or false", kind(&other)));
                None
            }
        }
    }

    pub(super) fn number(&mut self, key: &str, leaf: Leaf) -> Option<u32> {
        let number = match leaf? {
            Value::Integer(number) => u32::try_from(number).ok(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.refuse(key, "is no whole number from 0 up");
        }
        number
    }

    pub(super) fn numbers(&mut self, key: &str, leaf: Leaf) -> Option<Vec<u32>> {
        let Value::Array(items) = leaf? else {
            self.refuse(key, "expected a list of numbers");
            return None;
        };
        let read = items
            .into_iter()
            .map(|item| self.number(key, Some(item)))
            .collect::<Vec<_>>();
        read.into_iter().collect()
    }

    /// A length of time with its unit, such as `90s` or `10m`.
    pub(super) fn duration(&mut self, key: &str, leaf: Leaf) -> Option<Duration> {
        if let Some(Value::Integer(number)) = leaf {
            self.refuse(
                key,
                format!("has no unit: write \"{number}s\" or \"{number}m\""),
            );
            return None;
        }
        self.parsed(key, leaf, |text| {
            humantime::parse_duration(text)
                .map_err(|error| format!("{text:?} is no length of time such as \"90s\": {error}"))
        })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A path that does not depend on where the process was started.
pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(format!("{text:?} is no absolute path"))
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
