//! The configuration: a file, the environment, and Vault's own variables, checked as a whole.
//!
//! Each scalar key can come from `VAULT_KMS_PLUGIN_<TABLE>_<KEY>`, which wins over the file;
//! Vault's variables are defaults below it.

mod environment;
mod fingerprint;
mod raw;
mod reader;
mod validate;

use std::path::{Path, PathBuf};

use crate::grpc::{AllowedPeers, KmsVersion, SocketSettings};
use crate::{admin, telemetry};
use crate::{keys, session, vault};
pub use environment::Environment;
pub use fingerprint::Fingerprint;
pub use reader::{ConfigError, ConfigErrors};

/// Where the file is looked for when none is named.
pub const DEFAULT_FILE: &str = "/etc/vault-kms-plugin/config.toml";

/// A configuration that was checked. What depends on the world (files, Vault) was not.
#[derive(Debug, Clone)]
pub struct Config {
    /// The socket.
    pub socket: SocketSettings,
    /// Who may connect to it.
    pub peers: AllowedPeers,
    /// What Status says of the version.
    pub kms_version: KmsVersion,
    /// How many calls may wait.
    pub max_waiting: usize,
    /// The server.
    pub vault: vault::Settings,
    /// How to log in.
    pub auth: session::Settings,
    /// The keys and the Status policy.
    pub keys: keys::Settings,
    /// Where probes are served.
    pub admin: admin::Address,
    /// What is logged, and how.
    pub log: telemetry::Settings,
    /// What an operator should know though it is allowed.
    pub warnings: Vec<String>,
    /// Tells whether a table is another one than at the last read.
    pub fingerprint: Fingerprint,
}

/// Where the configuration comes from; read again at each reload.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file that was named, which then has to exist.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Environment,
}

impl Source {
    /// This file, or the default one where it exists, and the process's environment.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>) -> Self {
        Self {
            file,
            environment: Environment::of_process(),
        }
    }

    /// The file that is read, if one is.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        let default = || Some(Path::new(DEFAULT_FILE)).filter(|path| path.exists());
        self.file.as_deref().or_else(default)
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// With all that is wrong, each with its key.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        let mut table = match self.path() {
            Some(path) => read(path)?,
            None => toml::Table::new(),
        };
        let mut errors = Vec::new();
        self.environment.overlay(&mut table, &mut errors);
        let fingerprint = Fingerprint::of(&table);
        let raw = raw::parse(table, &mut errors);
        let config = validate::config(raw, &self.environment, errors)?;
        Ok(Config {
            fingerprint,
            ..config
        })
    }
}

fn read(path: &Path) -> Result<toml::Table, ConfigErrors> {
    let refuse = |problem: String| {
        ConfigErrors::from(vec![ConfigError::new(path.display().to_string(), problem)])
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| refuse(format!("cannot be read: {error}")))?;
    text.parse::<toml::Table>()
        .map_err(|error| refuse(format!("is no TOML: {}", words_of(&error))))
}

/// Where and what, without the line itself, which the parser would show: it may hold a secret.
fn words_of(error: &toml::de::Error) -> String {
    let shown = error.to_string();
    let place = shown.lines().next().unwrap_or_default();
    match error.message() {
        what if place.contains(what) => place.to_owned(),
        what => format!("{place}: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_toml_is_not_shown() {
        for text in [
            "[auth]\nsecret_id = \"s3cret\n",
            "[auth]\nsecret_id = s3cret\n",
        ] {
            let error = text.parse::<toml::Table>().expect_err("no TOML");
            let words = words_of(&error);
            assert!(
                words.starts_with("TOML parse error at line 2, column "),
                "{words}"
            );
            assert!(
                !words.contains("s3cret") && !words.contains('\n'),
                "{words}"
            );
        }
    }
}
