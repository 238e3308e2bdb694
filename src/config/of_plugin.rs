//! The settings of another plugin as a source of the configuration.

use std::sync::Arc;

use toml::Table;

use super::environment::{SECRET, key_of, set};
use super::reader::Reader;
use super::{Environment, Source};
use crate::drop_in::{Invocation, Plugin, Translation};

impl Source {
    /// Another plugin's settings, and our own variables, which take precedence. No file is read.
    #[must_use]
    pub fn of_plugin(invocation: Invocation) -> Self {
        let kept = invocation.plugin.kept_variables();
        let all = invocation.variables.clone().into_iter();
        let environment: Environment = all.collect();
        Self {
            file: None,
            environment: environment.of_plugin(kept),
            drop_in: Some(Arc::new(invocation)),
        }
    }

    /// What the settings of another plugin become.
    #[must_use]
    pub fn translation(&self) -> Translation {
        let invocation = self.drop_in.as_deref();
        invocation.map(Invocation::translate).unwrap_or_default()
    }

    pub(super) fn translated(&self, reader: &mut Reader) -> Table {
        translated(&self.translation(), reader)
    }

    /// Whether somebody else decides which users share the mounts of this process: an operator's pod, to which
    /// this program is one of several.
    pub(super) fn owns_no_mount(&self) -> bool {
        self.plugin() == Some(Plugin::VaultKubeKms)
    }

    /// The plugin that this one is called as.
    #[must_use]
    pub fn plugin(&self) -> Option<Plugin> {
        self.drop_in.as_ref().map(|it| it.plugin)
    }
}

/// The values of another plugin's settings as a table, each with its origin, and what changed as warnings.
pub(super) fn translated(translation: &Translation, reader: &mut Reader) -> Table {
    let mut table = Table::new();
    for value in &translation.values {
        let Some(key) = key_of(value.key) else {
            reader.error(value.key, "unknown key");
            continue;
        };
        set(&mut table, key, &value.text);
        let shown = Some(value.text.as_str()).filter(|_| !SECRET.contains(&key));
        reader.uses(value.key, value.origin, shown);
    }
    for secret in &translation.secrets {
        reader.uses(secret.key, secret.origin, None);
        reader.warnings.push(format!(
            "{}: a secret in the arguments or the environment is readable where those are: put it in a file, and \
             name that in {}",
            secret.origin, secret.key
        ));
    }
    let notes = translation.notes.iter().chain(&translation.not_understood);
    reader.warnings.extend(notes.map(ToString::to_string));
    table
}
