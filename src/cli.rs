//! The command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::admin::Address;
use crate::commands::init::auth::Method;
use crate::commands::init::platform::{KubeadmApi, Platform};
use crate::commands::prepare_dir::Owner;

/// The mount of the Transit engine, unless another one is named.
pub const DEFAULT_MOUNT: &str = "transit";
/// The key, likewise.
pub const DEFAULT_KEY: &str = "kms";

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
    Init(Box<Init>),
    /// Validate the configuration and prove that it works: connection, TLS, login, policy, key, a
    /// round trip.
    Check(Check),
    /// Show the state of the running daemon.
    Status(Status),
    /// Let the running daemon read its configuration again, and wait for the outcome.
    Reload(Reload),
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

/// The options of `init`. What is required and not given is asked for on a terminal.
#[derive(Debug, Clone, Args)]
pub struct Init {
    /// Directory to write to. Nothing in it is overwritten.
    #[arg(long, value_name = "DIR", default_value = "vault-kms-plugin-files")]
    pub out: PathBuf,
    /// What starts kube-apiserver.
    #[arg(long, value_name = "NAME")]
    pub platform: Option<Platform>,
    /// Address of Vault, such as `https://vault.example:8200`. May be given several times.
    #[arg(long, value_name = "URL")]
    pub address: Vec<String>,
    /// Path on the nodes of the certificate of Vault's CA; by default those of the system are trusted.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// The name in Vault's certificate, if it is not the host of the address.
    #[arg(long, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// Namespace of key and login.
    #[arg(long, value_name = "PATH")]
    pub namespace: Option<String>,
    /// Mount of the Transit engine; `transit` by default.
    #[arg(long, value_name = "PATH")]
    pub mount: Option<String>,
    /// Name of the key, which no other cluster may use; `kms` by default.
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// Suffix of every key_id, when an earlier key writes again.
    #[arg(long, value_name = "TEXT")]
    pub key_id_suffix: Option<String>,
    /// How the plugin logs in.
    #[arg(long, value_name = "METHOD")]
    pub auth: Option<Method>,
    /// Mount of the auth method; by default its name.
    #[arg(long, value_name = "PATH")]
    pub auth_mount: Option<String>,
    /// Name of the role in Vault.
    #[arg(long, value_name = "NAME", default_value = "vault-kms-plugin")]
    pub role: String,
    /// Name of the user in Vault, for `--auth userpass`.
    #[arg(long, value_name = "NAME", default_value = "vault-kms-plugin")]
    pub username: String,
    /// Name of the policy in Vault.
    #[arg(long, value_name = "NAME", default_value = "vault-kms-plugin")]
    pub policy: String,
    /// Issuer of the tokens of service accounts, for `--auth jwt`.
    #[arg(
        long,
        value_name = "URL",
        default_value = "https://kubernetes.default.svc.cluster.local"
    )]
    pub issuer: String,
    /// Where Vault reaches kube-apiserver; required for `--auth kubernetes`.
    #[arg(long, value_name = "URL")]
    pub kubernetes_host: Option<String>,
    /// Common names in the certificates of the nodes; required for `--auth cert`.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub node_name: Vec<String>,
    /// The socket on the nodes.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/vault-kms-plugin/kms.sock"
    )]
    pub socket: String,
    /// User that kube-apiserver runs as, if it is not root. May be given several times.
    #[arg(long, value_name = "UID")]
    pub allow_uid: Vec<u32>,
    /// Name of the provider in the EncryptionConfiguration, which each object in etcd carries.
    #[arg(long, value_name = "NAME", default_value = "vault")]
    pub provider: String,
    /// Resources to encrypt.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "secrets"
    )]
    pub resource: Vec<String>,
    /// How long kube-apiserver waits for a call.
    #[arg(long, value_name = "TIME", default_value = "3s")]
    pub timeout: String,
    /// Image of the static pod.
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = "localhost/vault-kms-plugin:0.1.0"
    )]
    pub image: String,
    /// The program on the nodes, for the unit.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/usr/local/bin/vault-kms-plugin"
    )]
    pub program: String,
    /// Version of kubeadm's configuration: `v1beta3` for Kubernetes 1.30 and earlier.
    #[arg(long, value_name = "VERSION", default_value = "v1beta4")]
    pub kubeadm_api: KubeadmApi,
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
    /// Reads the process's arguments.
    ///
    /// # Errors
    /// If they are wrong, or if they ask for help or the version: print it.
    pub fn read() -> Result<Self, clap::Error> {
        Self::try_parse()
    }
}
