//! The configuration: a file, the environment, and Vault's own variables, validated as a whole.
//!
//! Each key can be set by `VAULT_KMS_PLUGIN_<TABLE>_<KEY>`, which takes precedence over the file;
//! Vault's variables are defaults.

mod environment;
mod error;
mod fingerprint;
mod of_plugin;
mod origin;
mod raw;
mod reader;
mod shared;
mod trust;
mod validate;
mod written;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::diagnosis::Diagnosis;
use crate::drop_in::{Invocation, Translation};
use crate::grpc::{AllowedPeers, KmsVersion, SocketPath, SocketSettings};
use crate::keys::SeedCacheSettings;
use crate::replaced_plugin::DropIn;
use crate::system::watched_file;
use crate::{admin, telemetry};
use crate::{keys, session, vault};
pub use environment::{Environment, PREFIX};
pub use error::{ConfigError, ConfigErrors};
pub use fingerprint::Fingerprint;
pub use origin::Origin;
use reader::Reader;
use trust::Trust;
pub use written::toml_value;

/// The file that is read if none is named.
pub const DEFAULT_FILE: &str = "/etc/vault-kms-plugin/config.toml";

/// A validated configuration. What depends on files or on Vault is not validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// The socket.
    pub socket: SocketSettings,
    /// Who may connect to it.
    pub peers: AllowedPeers,
    /// The KMS version that Status reports.
    pub kms_version: KmsVersion,
    /// How many calls may wait.
    pub max_waiting: usize,
    /// The server.
    pub vault: vault::Settings,
    /// How to log in.
    pub auth: session::Settings,
    /// The keys and the Status policy.
    pub keys: keys::Settings,
    /// What bridges an outage of Vault.
    pub outage: Outage,
    /// Where probes are served.
    pub admin: admin::Address,
    /// The plugin in whose place this one runs, if there is one.
    pub drop_in: Option<DropIn>,
    /// What is logged, and how.
    pub log: telemetry::Settings,
    /// Valid settings that an operator should know about.
    pub warnings: Vec<String>,
    /// The values that are not in the file: those of the environment, then the defaults.
    pub origins: Vec<Origin>,
    /// Shows which tables have changed since the last read.
    pub fingerprint: Fingerprint,
}

/// `[outage]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Whether seeds are kept in memory.
    pub seed_cache: bool,
    /// How long after Vault's last success they are answered.
    pub max_age: Duration,
    /// Whether a local KEK seals seeds then.
    pub local_kek: bool,
}

impl Outage {
    /// What the seed cache keeps; `None` if it is off.
    #[must_use]
    pub fn settings(&self) -> Option<SeedCacheSettings> {
        self.seed_cache.then_some(SeedCacheSettings {
            max_age: self.max_age,
            local_kek: self.local_kek,
        })
    }
}

/// The sources of the configuration; read again at each reload.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The named file, which must exist.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Environment,
    /// The plugin that this one is called as, instead of a file: translated at each read.
    pub drop_in: Option<Arc<Invocation>>,
}

impl Source {
    /// This file, else the one that the environment names, else the default one if it exists; and
    /// the process's environment.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>) -> Self {
        Self {
            file: file.or_else(environment::config_file),
            environment: Environment::of_process(),
            drop_in: None,
        }
    }

    /// The file that is read; `None` if there is none.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        if self.drop_in.is_some() {
            return None;
        }
        let default = || Some(Path::new(DEFAULT_FILE)).filter(|path| path.exists());
        self.file.as_deref().or_else(default)
    }

    /// Where the admin server listens, and why the file could not be read. Reads nothing else: the rest
    /// may be invalid.
    ///
    /// # Errors
    /// If the address itself is invalid, or a file that was named cannot be read.
    pub fn admin_address(&self) -> Result<(admin::Address, Option<ConfigErrors>), ConfigErrors> {
        let (text, error) = self.one_text("admin", "listen")?;
        let address = match text {
            None => admin::Address::default(),
            Some(text) => text
                .parse()
                .map_err(|cause: String| vec![ConfigError::new("admin.listen", cause)])?,
        };
        Ok((address, error))
    }

    /// The KMS socket, likewise.
    ///
    /// # Errors
    /// If the path itself is invalid, or a file that was named cannot be read.
    pub fn socket_path(&self) -> Result<(SocketPath, Option<ConfigErrors>), ConfigErrors> {
        let (text, error) = self.one_text("socket", "path")?;
        let path = match text {
            None => validate::default_socket(),
            Some(text) => validate::socket_path(&text)
                .map_err(|cause| vec![ConfigError::new("socket.path", cause)])?,
        };
        Ok((path, error))
    }

    /// The text of one key, from the environment or from the file, and why the file could not be read.
    fn one_text(
        &self,
        table: &str,
        key: &str,
    ) -> Result<(Option<String>, Option<ConfigErrors>), ConfigErrors> {
        let mut ignored = Reader::default();
        let (mut all, error) = match self.path().map(read) {
            // What is wrong with it does not matter: the daemon may have been given more.
            None => (self.translated(&mut ignored), None),
            Some(Ok(table)) => (table, None),
            Some(Err(error)) if self.file.as_ref().is_some_and(|file| !file.exists()) => {
                return Err(error);
            }
            Some(Err(error)) => (toml::Table::new(), Some(error)),
        };
        self.environment.overlay(&mut all, None, &mut ignored);
        let value = all.get(table).and_then(|table| table.get(key));
        Ok((
            value.and_then(toml::Value::as_str).map(str::to_owned),
            error,
        ))
    }

    /// Reads and validates everything, and checks who could change the files, besides root and the
    /// user `own` of the daemon; `None` if it is not known.
    ///
    /// # Errors
    /// With every error and its key; also if others could change whom the daemon trusts.
    pub fn load_trusted(&self, own: Option<u32>) -> Result<Config, ConfigErrors> {
        let mut config = self.load()?;
        let mut trust = Trust::new(own, self.owns_no_mount());
        if let Some(file) = self.path() {
            trust.needs("configuration file", file);
        }
        config.check_files(&mut trust);
        if !trust.errors.is_empty() {
            let reader = Reader {
                errors: trust.errors,
                origins: config.origins,
                ..Reader::default()
            };
            return Err(reader.into_errors());
        }
        config.warnings.append(&mut trust.warnings);
        Ok(config)
    }

    /// Reads and validates everything.
    ///
    /// # Errors
    /// With every error and its key.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        match self.path() {
            Some(path) => self.validate(read(path)?, Reader::default(), &Translation::default()),
            None => {
                let mut reader = Reader::default();
                let translation = self.translation();
                if let (Some(plugin), Some(file)) = (self.plugin(), self.environment.config_file())
                {
                    let cause = format!(
                        "{} is not read by a program that is called {plugin}",
                        file.display()
                    );
                    let cause = Diagnosis::new(cause)
                        .with_remedy("call it vault-kms-plugin, or unset the variable");
                    return Err(vec![ConfigError::new(environment::CONFIG_FILE, cause)].into());
                }
                if !translation.errors.is_empty() {
                    return Err(error::of_plugin(translation.errors));
                }
                let table = of_plugin::translated(&translation, &mut reader);
                self.validate(table, reader, &translation)
            }
        }
    }

    /// Validates this table, with the environment applied.
    fn validate(
        &self,
        mut table: toml::Table,
        mut reader: Reader,
        translation: &Translation,
    ) -> Result<Config, ConfigErrors> {
        let named = self.file.as_deref();
        self.environment.overlay(&mut table, named, &mut reader);
        let (fingerprint, set) = (Fingerprint::of(&table), validate::keys_set(&table));
        let raw = raw::parse(table, &mut reader.errors);
        let mut config = validate::config(raw, &self.environment, &translation.secrets, reader)?;
        config.origins.extend(validate::defaults(&config, &set));
        Ok(Config {
            fingerprint,
            ..config
        })
    }
}

impl Config {
    /// Validates the text of a file by itself: without an environment, and whoever could change it.
    ///
    /// # Errors
    /// With every error and its key.
    pub fn parse(text: &str) -> Result<Self, ConfigErrors> {
        let source = Source::default();
        let table = parse(text).map_err(|cause| vec![ConfigError::new("file", cause)])?;
        source.validate(table, Reader::default(), &Translation::default())
    }

    /// Checks who could change the files that it names.
    fn check_files(&self, trust: &mut Trust) {
        let vault = &self.vault;
        if let Some(file) = &vault.ca_file {
            trust.needs("vault.ca_file", file);
        }
        if let Some(dir) = &vault.ca_dir {
            trust.needs_all_in("vault.ca_dir", dir);
        }
        if let Some(certificate) = &vault.client_certificate {
            let files = [Some(&certificate.cert_file), certificate.key_file.as_ref()];
            for file in files.into_iter().flatten() {
                trust.prefers(certificate.key, file);
            }
        }
        for credential in self.auth.credentials() {
            if let Some(file) = credential.path() {
                trust.prefers(credential.key(), file);
            }
        }
        if let Some(dir) = self.keys.state_file.parent() {
            trust.prefers_for_writing("state.dir", dir);
        }
    }
}

fn read(path: &Path) -> Result<toml::Table, ConfigErrors> {
    let error = |problem: Diagnosis| {
        ConfigErrors::from(vec![ConfigError::new(path.display().to_string(), problem)])
    };
    let text = std::fs::read_to_string(path).map_err(|cause| {
        error(Diagnosis {
            cause: format!("cannot be read: {cause}"),
            remedy: watched_file::remedy(&cause).map(str::to_owned),
        })
    })?;
    parse(&text).map_err(|cause| error(cause.into()))
}

fn parse(text: &str) -> Result<toml::Table, String> {
    let table = text.parse::<toml::Table>();
    table.map_err(|cause| format!("invalid TOML: {}", describe(&cause)))
}

/// The position and the error, without the line, which the parser would quote: it may hold a secret.
fn describe(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let position = text.lines().next().unwrap_or_default();
    let message = error.message();
    if position.contains(message) {
        position.to_owned()
    } else {
        format!("{position}: {message}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_invalid_toml_is_not_quoted() {
        for text in [
            "[auth]\nsecret_id = \"s3cret\n",
            "[auth]\nsecret_id = s3cret\n",
        ] {
            let error = text.parse::<toml::Table>().expect_err("invalid TOML");
            let text = describe(&error);
            assert!(
                text.starts_with("TOML parse error at line 2, column "),
                "{text}"
            );
            assert!(!text.contains("s3cret") && !text.contains('\n'), "{text}");
        }
    }
}
