//! The errors of a configuration, each with its key.

use std::fmt;

use crate::diagnosis::{Diagnosis, write_joined};

/// One error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, the variable or the file that is wrong.
    pub key: String,
    /// What is wrong with it.
    pub cause: String,
    /// What an operator can do about it.
    pub remedy: Option<String>,
    /// The variable of the environment that the value came from.
    pub variable: Option<String>,
}

/// All errors of a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigError {
    pub(super) fn new(key: impl Into<String>, problem: impl Into<Diagnosis>) -> Self {
        let Diagnosis { cause, remedy } = problem.into();
        Self {
            key: key.into(),
            cause,
            remedy,
            variable: None,
        }
    }
}

impl From<Vec<ConfigError>> for ConfigErrors {
    fn from(errors: Vec<ConfigError>) -> Self {
        Self(errors)
    }
}

impl ConfigErrors {
    /// The errors one by one.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = format_args!("{}: {}", self.key, self.cause);
        write_joined(f, cause, self.remedy.as_deref())
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
