//! What the settings of another plugin become: values of the configuration, secrets, warnings, errors. Each
//! names the setting that it comes from.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::diagnosis::{Diagnosis, write_joined};

/// The value of a key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The key, such as `vault.address`.
    pub key: &'static str,
    /// The value as a variable of the environment would have it.
    pub text: String,
    /// The flag, variable or field that it comes from.
    pub origin: &'static str,
}

/// A secret that the arguments or the environment hold themselves.
#[derive(Clone)]
pub struct Secret {
    /// The key that would name a file with it, such as `auth.token_file`.
    pub key: &'static str,
    /// The secret; wiped when it is dropped.
    pub secret: Zeroizing<String>,
    /// The flag or variable that it comes from.
    pub origin: &'static str,
}

/// Something about a setting that a user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The setting, as the user wrote it.
    pub setting: String,
    /// What changed, and what replaces it.
    pub text: String,
}

/// A setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting, as the user wrote it or may write it.
    pub setting: String,
    /// What is wrong with it, and what to do.
    pub diagnosis: Diagnosis,
}

/// What the settings of another plugin become.
#[derive(Debug, Clone, Default)]
pub struct Translation {
    /// The values of the configuration.
    pub values: Vec<Value>,
    /// The secrets that are not in files.
    pub secrets: Vec<Secret>,
    /// One table of `transit.decrypt_also`: its keys and values. Empty if there is none.
    pub decrypt_also: Vec<(&'static str, String)>,
    /// What changed, and what is not kept.
    pub notes: Vec<Note>,
    /// What the plugin would ignore, and this one does not know either.
    pub not_understood: Vec<Note>,
    /// What is wrong, would lose data or would be unsafe.
    pub errors: Vec<Problem>,
    /// The directory that the plugin would create for its socket.
    pub creates: Option<PathBuf>,
}

/// Shows no secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Secret");
        shown.field("key", &self.key).field("origin", &self.origin);
        shown.finish_non_exhaustive()
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.text)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = format_args!("{}: {}", self.setting, self.diagnosis.cause);
        write_joined(f, cause, self.diagnosis.remedy.as_deref())
    }
}

impl Translation {
    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.values.iter().find(|value| value.key == key)
    }

    /// The secret in place of the file that a key names.
    #[must_use]
    pub fn secret(&self, key: &str) -> Option<&Secret> {
        self.secrets.iter().find(|secret| secret.key == key)
    }

    /// Sets a key.
    pub(super) fn set(&mut self, key: &'static str, text: impl Into<String>, origin: &'static str) {
        let text = text.into();
        self.values.push(Value { key, text, origin });
    }

    pub(super) fn note(&mut self, setting: impl Into<String>, text: impl Into<String>) {
        let (setting, text) = (setting.into(), text.into());
        self.notes.push(Note { setting, text });
    }

    pub(super) fn not_understood(&mut self, setting: impl Into<String>, text: impl Into<String>) {
        let (setting, text) = (setting.into(), text.into());
        self.not_understood.push(Note { setting, text });
    }

    pub(super) fn error(
        &mut self,
        setting: impl Into<String>,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let diagnosis = Diagnosis::new(cause).with_remedy(remedy);
        let setting = setting.into();
        self.errors.push(Problem { setting, diagnosis });
    }
}
