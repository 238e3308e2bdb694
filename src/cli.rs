//! The command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::commands::prepare_dir::Owner;

/// Encrypts Kubernetes data at rest through Vault or `OpenBao` Transit.
#[derive(Debug, Parser)]
#[command(name = "vault-kms-plugin", version, about)]
struct Cli {
    /// What to do; `serve` when left out.
    #[command(subcommand)]
    command: Option<Command>,
    /// For `serve` without its name.
    #[command(flatten)]
    serve: Serve,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the daemon.
    Serve(Serve),
    /// Validates the configuration, then proves it: reach, TLS, login, policy, key, a round trip.
    Check(Check),
    /// Asks the running daemon how things stand.
    Status(Status),
    /// Gives the socket's directory to the user that the plugin runs as; for the init container of a
    /// static pod, which is root.
    PrepareDir(PrepareDir),
}

/// The options of `serve`.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// The configuration file; /etc/vault-kms-plugin/config.toml is read where it exists.
    #[arg(long, value_name = "FILE", env = "VAULT_KMS_PLUGIN_CONFIG")]
    pub config: Option<PathBuf>,
}

/// The options of `check`.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// The configuration file; /etc/vault-kms-plugin/config.toml is read where it exists.
    #[arg(long, value_name = "FILE", env = "VAULT_KMS_PLUGIN_CONFIG")]
    pub config: Option<PathBuf>,
    /// Only what can be told without Vault: nothing is connected to.
    #[arg(long)]
    pub offline: bool,
    /// Logs in even where that may use up a secret_id or a wrapping token.
    #[arg(long, conflicts_with = "offline")]
    pub login: bool,
    /// Whether kube-apiserver's EncryptionConfiguration fits.
    #[arg(long, value_name = "FILE")]
    pub encryption_config: Option<PathBuf>,
    /// Ends with 1 where there is something to know (`!`) and nothing wrong.
    #[arg(long)]
    pub strict: bool,
    /// Prints JSON, for machines.
    #[arg(long)]
    pub json: bool,
}

/// The options of `status`.
#[derive(Debug, Clone, Args)]
pub struct Status {
    /// The configuration file that the daemon runs with: it says where the daemon can be asked.
    #[arg(long, value_name = "FILE", env = "VAULT_KMS_PLUGIN_CONFIG")]
    pub config: Option<PathBuf>,
    /// As JSON, for machines.
    #[arg(long)]
    pub json: bool,
    /// Again and again, until it is interrupted.
    #[arg(long)]
    pub watch: bool,
}

/// The options of `prepare-dir`.
#[derive(Debug, Clone, Args)]
pub struct PrepareDir {
    /// The user and the group, in numbers, that the directory shall belong to.
    #[arg(long, value_name = "UID:GID")]
    pub owner: Owner,
    /// The directory.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// The whole command line, for man pages and completions.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command()
}

impl Command {
    /// Reads the process's arguments.
    ///
    /// # Errors
    /// When they are wrong, or when they ask for help or the version: print it.
    pub fn read() -> Result<Self, clap::Error> {
        let cli = Cli::try_parse()?;
        let before = cli.serve.config;
        Ok(match cli.command {
            None => Self::Serve(Serve { config: before }),
            Some(Self::Serve(serve)) => Self::Serve(Serve {
                config: serve.config.or(before),
            }),
            Some(Self::Check(check)) => Self::Check(Check {
                config: check.config.or(before),
                ..check
            }),
            Some(Self::Status(status)) => Self::Status(Status {
                config: status.config.or(before),
                ..status
            }),
            Some(other) => other,
        })
    }
}
