//! The options of `migrate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::kmsctl::cluster::ClusterArgs;
use crate::kmsctl::etcd_args::EtcdArgs;

/// The options of `migrate`.
#[derive(Debug, Clone, Args)]
pub struct Migrate {
    /// The file of kube-apiserver's --encryption-provider-config: which resources are encrypted.
    #[arg(long, value_name = "FILE")]
    pub encryption_config: PathBuf,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// How.
    #[command(flatten)]
    pub options: MigrateOptions,
}

/// The options that `rotate` has too.
#[derive(Debug, Clone, Args)]
pub struct MigrateOptions {
    /// Only this resource, such as `secrets` or `widgets.example.org`. May be given several times.
    #[arg(long = "resource", value_name = "RESOURCE")]
    pub resources: Vec<String>,
    /// At most this many writes a second; 0 is no limit.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub qps: u32,
    /// How many writes may be in flight.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=128))]
    pub workers: u16,
    /// How many objects a page of a list has.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub page_size: u32,
    /// Who writes: a StorageVersionMigration of the kube-controller-manager (`svm`), this program (`direct`), or
    /// the first where the cluster has it.
    #[arg(long, value_enum, default_value_t = Method::Auto)]
    pub method: Method,
    /// Also write resources whose first provider is identity: that decrypts them.
    #[arg(long)]
    pub allow_decrypt: bool,
    /// Only print what would be written.
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Keep in this file how far it is, and go on from there. It is removed at the end.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Where etcd is: then only objects that are out of date are written, and an audit follows.
    #[command(flatten)]
    pub etcd: EtcdArgs,
}

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// `svm` where the cluster has it and it is not known which objects are stale, else `direct`.
    Auto,
    /// A StorageVersionMigration.
    Svm,
    /// This program.
    Direct,
}
