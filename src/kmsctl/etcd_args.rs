//! Where etcd is, from the command line, from the variables of etcdctl, or from what kubeadm has configured.

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;

use super::apiserver_manifest::ApiserverManifest;
use crate::diagnosis::Diagnosis;
use crate::etcd::connection::{NamedFile, Options};

/// Where etcd is if nothing says so.
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:2379";
/// The default of kube-apiserver's `--etcd-prefix`.
pub const DEFAULT_PREFIX: &str = "/registry";

/// The options for etcd.
#[derive(Debug, Clone, Default, Args)]
pub struct EtcdArgs {
    /// Addresses of etcd, separated by commas [default: ETCDCTL_ENDPOINTS, or --etcd-servers of kubeadm's kube-apiserver].
    #[arg(long, value_name = "URL", value_delimiter = ',', help_heading = "etcd")]
    pub endpoints: Vec<String>,
    /// CA that issued etcd's certificate [default: ETCDCTL_CACERT, or that of kubeadm's kube-apiserver].
    #[arg(long, value_name = "FILE", help_heading = "etcd")]
    pub cacert: Option<PathBuf>,
    /// Client certificate for etcd [default: ETCDCTL_CERT, or that of kubeadm's kube-apiserver].
    #[arg(long, value_name = "FILE", help_heading = "etcd")]
    pub cert: Option<PathBuf>,
    /// Its key [default: ETCDCTL_KEY, or that of kubeadm's kube-apiserver].
    #[arg(long, value_name = "FILE", help_heading = "etcd")]
    pub key: Option<PathBuf>,
    /// Prefix of kube-apiserver's keys [default: --etcd-prefix of kubeadm's kube-apiserver, or /registry].
    #[arg(long, value_name = "PREFIX", help_heading = "etcd")]
    pub prefix: Option<String>,
}

/// What the options come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdTarget {
    /// How etcd is reached.
    pub options: Options,
    /// The prefix of kube-apiserver's keys.
    pub prefix: String,
    /// Whether an option, a variable or a manifest says where etcd is.
    pub is_known: bool,
    /// The EncryptionConfiguration of kubeadm's kube-apiserver, as a default for another option.
    pub encryption_config: Option<PathBuf>,
}

impl EtcdArgs {
    /// Completes the options from the environment and from kubeadm's files.
    ///
    /// # Errors
    /// If a certificate is named without its key or the other way round, or if kubeadm's manifest would be needed and
    /// cannot be read.
    pub fn resolve(&self) -> Result<EtcdTarget, Diagnosis> {
        let variable = |name: &str| env::var(name).ok();
        self.resolve_with(&variable, Path::new("/"))
    }

    /// The same with other variables and another root directory.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_with(
        &self,
        variable: &dyn Fn(&str) -> Option<String>,
        root: &Path,
    ) -> Result<EtcdTarget, Diagnosis> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let endpoints = match &self.endpoints[..] {
            [] => list(&variable("ETCDCTL_ENDPOINTS").unwrap_or_default()),
            given => given.iter().flat_map(|one| list(one)).collect(),
        };
        let file = |given: &Option<PathBuf>, option: &str, name: &str| match given {
            Some(path) => Some(NamedFile::new(path, option)),
            None => variable(name).map(|path| NamedFile::new(path, name)),
        };
        let cacert = file(&self.cacert, "--cacert", "ETCDCTL_CACERT");
        let cert = file(&self.cert, "--cert", "ETCDCTL_CERT");
        let key = file(&self.key, "--key", "ETCDCTL_KEY");
        let identity = pair(cert, key)?;
        let manifest = match ApiserverManifest::read(root) {
            Ok(manifest) => manifest.unwrap_or_default(),
            // Where etcd is is known without it.
            Err(_) if !endpoints.is_empty() => ApiserverManifest::default(),
            Err(error) => return Err(error),
        };
        // What is said of its kube-apiserver holds for its etcd alone.
        let is_its_own = endpoints.iter().all(|one| manifest.endpoints.contains(one));
        let prefix = self
            .prefix
            .clone()
            .or(manifest.prefix.filter(|_| is_its_own));
        let mut options = Options {
            endpoints,
            cacert,
            identity,
        };
        let is_known = !(options.endpoints.is_empty() && manifest.endpoints.is_empty());
        complete(
            &mut options,
            manifest.endpoints,
            manifest.cacert,
            manifest.identity,
        );
        Ok(EtcdTarget {
            options,
            prefix: prefix.unwrap_or_else(|| DEFAULT_PREFIX.to_owned()),
            is_known,
            encryption_config: manifest.encryption_config.filter(|_| is_its_own),
        })
    }
}

/// Takes what is not given from the manifest: its files only for TLS, and only as a whole if no other address is given.
fn complete(
    options: &mut Options,
    endpoints: Vec<String>,
    cacert: Option<NamedFile>,
    identity: Option<(NamedFile, NamedFile)>,
) {
    let has_files = options.cacert.is_some() || options.identity.is_some();
    if options.endpoints.is_empty() {
        options.endpoints = endpoints;
    }
    if options.endpoints.is_empty() {
        options.endpoints.push(DEFAULT_ENDPOINT.to_owned());
    }
    let is_tls = |address: &String| has_files || address.starts_with("https://");
    if options.endpoints.iter().any(is_tls) {
        options.cacert = options.cacert.take().or(cacert);
        options.identity = options.identity.take().or(identity);
    }
}

fn list(text: &str) -> Vec<String> {
    let items = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    items.map(str::to_owned).collect()
}

fn pair(
    cert: Option<NamedFile>,
    key: Option<NamedFile>,
) -> Result<Option<(NamedFile, NamedFile)>, Diagnosis> {
    let half = |file: NamedFile, missing: &str| {
        let cause = Diagnosis::new(format!("{file} is given without its {missing}"));
        Err(cause.with_remedy("give both, --cert and --key"))
    };
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        (Some(cert), None) => half(cert, "key"),
        (None, Some(key)) => half(key, "certificate"),
    }
}

#[cfg(test)]
mod tests;
