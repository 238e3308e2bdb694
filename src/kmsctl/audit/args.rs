//! The options of `audit`.

use std::path::PathBuf;

use clap::Args;

use crate::kmsctl::etcd_args::EtcdArgs;

/// The options of `audit`.
#[derive(Debug, Clone, Default, Args)]
pub struct Audit {
    /// Read this snapshot, or this copy of etcd's database, instead of a running etcd.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["endpoints", "cacert", "cert", "key"])]
    pub snapshot: Option<PathBuf>,
    /// A snapshot that may be restored one day: its key versions are needed, too. May be given several times.
    #[arg(long, value_name = "FILE")]
    pub backup: Vec<PathBuf>,
    /// EncryptionConfiguration of kube-apiserver: what should write each resource.
    #[arg(long, value_name = "FILE")]
    pub encryption_config: Option<PathBuf>,
    /// Ask Vault for the current key, with the configuration of the daemon (its default file without a name), and with
    /// the token in VAULT_TOKEN or a login of its own.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub config: Option<Option<PathBuf>>,
    /// Prove that each object of KMS can be read: unwrap each seed once through Vault and check each object's tag. Uses
    /// the configuration of the daemon, as --config.
    #[arg(long)]
    pub verify: bool,
    /// The current key_id, where Vault is not asked.
    #[arg(long, value_name = "KEY_ID", conflicts_with = "config")]
    pub key_id: Option<String>,
    /// How many names of each finding are listed.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub list: usize,
    /// Count by namespace, too. JSON always does.
    #[arg(long)]
    pub namespaces: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Also write metrics to this file, for the textfile collector of node_exporter.
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Where etcd is.
    #[command(flatten)]
    pub etcd: EtcdArgs,
}
