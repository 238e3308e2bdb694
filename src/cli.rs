//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Encrypts Kubernetes data at rest through Vault or `OpenBao` Transit.
#[derive(Debug, Parser)]
#[command(name = "vault-kms-plugin", version, about)]
pub struct Cli {
    /// What to do; `serve` when left out.
    #[command(subcommand)]
    command: Option<Command>,
    /// For `serve` without its name.
    #[command(flatten)]
    serve: Serve,
}

/// A command.
#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon.
    Serve(Serve),
}

/// The options of `serve`.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// The configuration file; /etc/vault-kms-plugin/config.toml is read where it exists.
    #[arg(long, value_name = "FILE", env = "VAULT_KMS_PLUGIN_CONFIG")]
    pub config: Option<PathBuf>,
}

impl Cli {
    /// Reads the process's arguments.
    ///
    /// # Errors
    /// When they are wrong, or when they ask for help or the version: print it.
    pub fn read() -> Result<Serve, clap::Error> {
        let cli = Self::try_parse()?;
        Ok(match cli.command {
            Some(Command::Serve(serve)) => Serve {
                config: serve.config.or(cli.serve.config),
            },
            None => cli.serve,
        })
    }
}
