//! The errors of a configuration, each with its key.

use std::fmt;

use crate::diagnosis::{Diagnosis, write_joined};
use crate::drop_in::Problem;

/// One error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, the variable or the file that is wrong.
    pub key: String,
    /// What is wrong with it.
    pub cause: String,
    /// What an operator can do about it.
    pub remedy: Option<String>,
    /// The variable of the environment, or the setting of another plugin, that the value came from.
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

/// The errors of another plugin's settings, which name those.
pub(super) fn of_plugin(problems: Vec<Problem>) -> ConfigErrors {
    let errors = problems.into_iter();
    ConfigErrors(
        errors
            .map(|it| ConfigError::new(it.setting, it.diagnosis))
            .collect(),
    )
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
        let remedy = self.remedy.as_deref();
        match &self.variable {
            Some(from) => {
                let cause = format_args!("{} (from {from}): {}", self.key, self.cause);
                write_joined(f, cause, remedy)
            }
            None => write_joined(f, format_args!("{}: {}", self.key, self.cause), remedy),
        }
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
