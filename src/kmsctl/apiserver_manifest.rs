//! What the manifest of kubeadm says of etcd: kube-apiserver's own flags for it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::commands::check::apiserver_command;
use crate::commands::check::kube_flag::flag_value;
use crate::diagnosis::Diagnosis;
use crate::etcd::connection::NamedFile;
use crate::system::watched_file::{self, ReadError};

/// Where kubelet finds it.
const PATH: &str = "etc/kubernetes/manifests/kube-apiserver.yaml";
/// Far more than any manifest.
const MAX_BYTES: u64 = 1024 * 1024;

/// The flags of kube-apiserver that have to do with etcd. Paths are those inside its container, where kubeadm mounts
/// `/etc/kubernetes/pki` at the same place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ApiserverManifest {
    /// `--etcd-servers`.
    pub(super) endpoints: Vec<String>,
    /// `--etcd-cafile`.
    pub(super) cacert: Option<NamedFile>,
    /// `--etcd-certfile` and `--etcd-keyfile`.
    pub(super) identity: Option<(NamedFile, NamedFile)>,
    /// `--etcd-prefix`.
    pub(super) prefix: Option<String>,
    /// `--encryption-provider-config`.
    pub(super) encryption_config: Option<PathBuf>,
}

impl ApiserverManifest {
    /// Reads the manifest below a root directory, `/` except for a test. `None` if there is none.
    ///
    /// # Errors
    /// If there is one, and it cannot be read.
    pub(super) fn read(root: &Path) -> Result<Option<Self>, Diagnosis> {
        let path = root.join(PATH);
        let about = |diagnosis: Diagnosis| diagnosis.about(path.display());
        let text = match watched_file::read(&path, MAX_BYTES) {
            Ok(content) => content.bytes,
            Err(ReadError::Open(cause)) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let cause = Diagnosis::new(error.to_string());
                return Err(about(cause.with_remedy(
                    "run this as root, or say where etcd is: --endpoints, --cacert, --cert, --key",
                )));
            }
        };
        let command = apiserver_command(&text).map_err(|cause| about(cause.into()))?;
        Ok(Some(Self::of(&command, root)))
    }

    fn of(command: &[String], root: &Path) -> Self {
        let arguments: Vec<_> = command.iter().map(String::as_str).collect();
        let value = |flag: &str| flag_value(&arguments, flag);
        let path = |flag: &str| Some(root.join(value(flag)?.trim_start_matches('/')));
        let file = |flag: &str| {
            let named_by = format!("--{flag} in /{PATH}");
            path(flag).map(|path| NamedFile::new(path, named_by))
        };
        let servers = value("etcd-servers").unwrap_or_default().split(',');
        let servers = servers.map(str::trim).filter(|server| !server.is_empty());
        Self {
            endpoints: servers.map(str::to_owned).collect(),
            cacert: file("etcd-cafile"),
            identity: file("etcd-certfile").zip(file("etcd-keyfile")),
            prefix: value("etcd-prefix").map(str::to_owned),
            encryption_config: path("encryption-provider-config"),
        }
    }
}
