//! The command line.

mod init;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::admin::Address;
use crate::commands::prepare_dir::Owner;
pub use init::Init;

/// Encrypts Kubernetes data at rest through Vault or `OpenBao` Transit.
#[derive(Debug, Parser)]
#[command(name = "vault-kms-plugin", version, about)]
pub struct Cli {
    /// Configuration file; by default the one that `VAULT_KMS_PLUGIN_CONFIG` names, else
    /// /etc/vault-kms-plugin/config.toml if it exists.
    // Not clap's `env`, which rejects an empty variable.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Command to run; `serve` by default.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon.
    Serve(Serve),
    /// Write the files of a new installation: configuration, policy, the commands for Vault, both steps of
    /// the EncryptionConfiguration, unit or manifest.
    Init(Init),
    /// Validate the configuration and prove that it works: connection, TLS, login, policy, key, a
    /// round trip.
    Check(Check),
    /// Show the state of the running daemon.
    Status(Status),
    /// Let the running daemon read its configuration again, and wait for the outcome.
    Reload(Reload),
    /// Convert the settings of another plugin: configuration, its secrets in files, unit or manifest.
    Convert(Convert),
    /// Give the socket's directory to the user that the plugin runs as; for the init container of a
    /// static pod, which is root.
    PrepareDir(PrepareDir),
}

/// The options of `serve`.
#[derive(Debug, Clone, Default, Args)]
pub struct Serve {
    /// Become this user before the configuration is read, for good and without a capability; for a static
    /// pod, which starts as root.
    #[arg(long, value_name = "UID:GID")]
    pub user: Option<Owner>,
    /// Before that, give this directory to the user, as `prepare-dir` does. May be given several times.
    #[arg(long, value_name = "DIR", requires = "user")]
    pub dir: Vec<PathBuf>,
}

/// What starts the converted plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Runs {
    /// A unit of systemd.
    Systemd,
    /// A static pod.
    StaticPod,
}

/// The options of `convert`.
#[derive(Debug, Clone, Args)]
pub struct Convert {
    /// Which plugin the settings are of: vault-kubernetes-kms, vault-kms-provider, vault-kube-kms, kleidi or
    /// bao-kms-provider; by default what they look like.
    #[arg(long, value_name = "PLUGIN")]
    pub from: Option<String>,
    /// A file: a command line, variables of the environment, a systemd unit, the manifest of a pod, a
    /// ConfigMap, values of a Helm chart, Kleidi's JSON or the YAML of bao-kms-provider. May be given several times.
    #[arg(long, value_name = "FILE")]
    pub input: Vec<PathBuf>,
    /// Directory to write to; nothing in it is overwritten.
    #[arg(long, value_name = "DIR", default_value = "vault-kms-plugin-files")]
    pub out: PathBuf,
    /// What will start this plugin; by default a static pod if the other one was in a pod, else systemd.
    #[arg(long)]
    pub runs: Option<Runs>,
    /// Directory of the configuration and the credentials on a node.
    #[arg(long, value_name = "DIR", default_value = "/etc/vault-kms-plugin")]
    pub install_dir: PathBuf,
    /// Directory that relative paths of the other plugin are in.
    #[arg(long, value_name = "DIR")]
    pub working_dir: Option<PathBuf>,
    /// Image of the static pod.
    #[arg(long, default_value = "localhost/vault-kms-plugin:0.1.0")]
    pub image: String,
    /// The program on the nodes, for the unit.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/usr/local/bin/vault-kms-plugin"
    )]
    pub program: String,
    /// The command line of the other plugin, after `--`.
    #[arg(last = true, value_name = "ARGUMENT")]
    pub arguments: Vec<String>,
}

/// The options of `check`.
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// Run only the checks that need no connection to Vault.
    #[arg(long)]
    pub offline: bool,
    /// Log in even if that may use up a secret_id or a wrapping token.
    #[arg(long, conflicts_with = "offline")]
    pub login: bool,
    /// Also use the socket of the running daemon as the kube-apiserver of this host would, and check the
    /// EncryptionConfiguration that it was started with.
    #[arg(long, conflicts_with = "offline")]
    pub running: bool,
    /// Use the environment and the configuration file of this systemd unit instead of those of the shell.
    #[arg(long, value_name = "NAME")]
    pub unit: Option<String>,
    /// Check that kube-apiserver's EncryptionConfiguration fits.
    #[arg(long, value_name = "FILE")]
    pub encryption_config: Option<PathBuf>,
    /// Print only the fingerprint of what has to be the same on every node: of the configuration, and of
    /// the EncryptionConfiguration if that is named.
    #[arg(long, conflicts_with_all = ["offline", "login", "running", "strict", "json"])]
    pub fingerprint: bool,
    /// Exit with 1 if there are warnings and no errors.
    #[arg(long)]
    pub strict: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The options of `status`.
#[derive(Debug, Clone, Args)]
pub struct Status {
    /// Admin address of the daemon; by default `admin.listen`, also of an invalid file.
    #[arg(long)]
    pub address: Option<Address>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Repeat every 2 s until interrupted.
    #[arg(long)]
    pub watch: bool,
    /// Show only whether the KMS socket answers, whatever Vault does: for liveness probes. Needs no admin
    /// server.
    #[arg(long, conflicts_with_all = ["address", "json", "watch"])]
    pub live: bool,
    /// The KMS socket for `--live`; by default `socket.path`. A probe should name it, so that a change of the
    /// file, which the daemon has not read yet, does not matter.
    #[arg(long, value_name = "PATH", requires = "live")]
    pub socket: Option<PathBuf>,
}

/// The options of `reload`.
#[derive(Debug, Clone, Args)]
pub struct Reload {
    /// Admin address of the daemon; by default `admin.listen`, also of an invalid file.
    #[arg(long)]
    pub address: Option<Address>,
}

/// The options of `prepare-dir`.
#[derive(Debug, Clone, Args)]
pub struct PrepareDir {
    /// Numeric UID:GID that will own the directory.
    #[arg(long, value_name = "UID:GID")]
    pub owner: Owner,
    /// Directory to prepare.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// The whole command line, for man pages and completions.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command()
}

impl Cli {
    /// Reads arguments, the first of which is the name of the program.
    ///
    /// # Errors
    /// If they are wrong, or if they ask for help or the version: print it.
    pub fn read(arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(arguments)
    }
}
