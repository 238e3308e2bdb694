//! Opens what an audit reads: a running etcd, or a snapshot.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::args::Audit;
use crate::etcd::connection::Connection;
use crate::etcd::scan::{Scan, SourceError};
use crate::etcd::{live, snapshot};
use crate::kmsctl::etcd_args::{DEFAULT_PREFIX, EtcdTarget};
use crate::kmsctl::output::Problem;

/// What is read.
pub(super) struct Source {
    /// The scan.
    pub(super) scan: Scan,
    /// The prefix of kube-apiserver's keys.
    pub(super) prefix: String,
    /// The EncryptionConfiguration of the kube-apiserver that this host runs with this etcd, where it is readable.
    pub(super) encryption_config: Option<PathBuf>,
}

impl Source {
    /// Opens what the options name.
    ///
    /// # Errors
    /// If it cannot be reached, or is not what it should be.
    pub(super) async fn open(options: &Audit) -> Result<Self, Problem> {
        if let Some(file) = &options.snapshot {
            // Nothing of this host says anything about a snapshot.
            let prefix = options.etcd.prefix.as_deref().unwrap_or(DEFAULT_PREFIX);
            return Ok(Self {
                scan: Self::backup(file, prefix).await?,
                prefix: prefix.to_owned(),
                encryption_config: None,
            });
        }
        let target = options.etcd.resolve().map_err(Problem::wrong_input)?;
        let EtcdTarget {
            options, prefix, ..
        } = target;
        let connection = Connection::open(&options, &prefix).await.map_err(problem)?;
        let scan = live::scan(connection, &prefix).await.map_err(problem)?;
        let is_readable = |file: &PathBuf| File::open(file).is_ok();
        Ok(Self {
            scan,
            prefix,
            encryption_config: target.encryption_config.filter(is_readable),
        })
    }

    /// Opens a snapshot.
    ///
    /// # Errors
    /// If it is no snapshot.
    pub(super) async fn backup(file: &Path, prefix: &str) -> Result<Scan, Problem> {
        snapshot::scan(file, prefix).await.map_err(problem)
    }
}

/// Why an audit ends early.
pub(crate) fn problem(error: SourceError) -> Problem {
    match error {
        SourceError::Unavailable(diagnosis) => Problem::unavailable(diagnosis),
        SourceError::Invalid(diagnosis) => Problem::wrong_input(diagnosis),
    }
}
