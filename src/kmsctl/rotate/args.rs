//! The options of `rotate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::kmsctl::cluster::ClusterArgs;
use crate::kmsctl::migrate::MigrateOptions;

/// The options of `rotate`.
#[derive(Debug, Clone, Args)]
pub struct Rotate {
    /// Configuration file of the daemon, which names Vault and the key; by default as the daemon finds it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The file of kube-apiserver's --encryption-provider-config.
    #[arg(long, value_name = "FILE")]
    pub encryption_config: PathBuf,
    /// File with a token of Vault that may rotate the key; by default the variable VAULT_TOKEN. The daemon's own login
    /// is never used.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Then wait until every kube-apiserver uses the new version, and write every object again.
    #[arg(long)]
    pub wait: bool,
    /// Do not rotate, only what follows.
    #[arg(long)]
    pub no_rotate: bool,
    /// How long to wait for every kube-apiserver.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// URL of a kube-apiserver, such as `https://10.0.0.1:6443`; give each. By default those of the EndpointSlice
    /// default/kubernetes.
    #[arg(long = "apiserver", value_name = "URL")]
    pub apiservers: Vec<String>,
    /// Name of the KMS v2 provider of this plugin; by default those whose endpoint is socket.path.
    #[arg(long = "provider", value_name = "NAME")]
    pub providers: Vec<String>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// How objects are written again.
    #[command(flatten)]
    pub options: MigrateOptions,
}
