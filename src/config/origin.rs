//! Where a value comes from that is not in the file: a variable of the environment, or a default.

use serde::Serialize;

/// A value that is not in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The key, or what the variable decides beside the keys.
    pub key: String,
    /// The variable, or the setting of another plugin, that it comes from; `None` for a default.
    pub variable: Option<String>,
    /// The value; `None` if it may hold a secret.
    pub value: Option<String>,
}

impl Origin {
    /// The default of a key.
    pub(super) fn default(key: &str, value: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            variable: None,
            value: Some(value.into()),
        }
    }
}
