//! The command line of `vault-kmsctl`.

use clap::{CommandFactory, Parser, Subcommand};

use super::audit::Audit;
use super::inspect::Inspect;
use super::migrate::Migrate;
use super::rotate::Rotate;

/// Proves what is in etcd, rotates the key, and encrypts again.
#[derive(Debug, Parser)]
#[command(name = "vault-kmsctl", version, about)]
pub struct Cli {
    /// Command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read everything in etcd, or in a snapshot: what encrypted it, whether it can be read, which key versions are needed.
    Audit(Box<Audit>),
    /// Show what a stored value says of itself: what encrypted it, with which key and version.
    Inspect(Inspect),
    /// Have kube-apiserver encrypt every object again whose stored form is out of date.
    Migrate(Migrate),
    /// Rotate the Transit key, wait until every kube-apiserver uses the new version, and encrypt everything again.
    Rotate(Rotate),
}

/// The whole command line, for man pages and completions.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command()
}

impl Cli {
    /// Reads the process's arguments.
    ///
    /// # Errors
    /// If they are wrong, or if they ask for help or the version: print it.
    pub fn read() -> Result<Self, clap::Error> {
        Self::try_parse()
    }
}
