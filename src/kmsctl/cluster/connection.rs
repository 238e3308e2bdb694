//! Who one is, and where the cluster is: kubeconfig or service account.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::diagnosis::Diagnosis;

/// How long a connection to kube-apiserver may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which cluster, and as whom.
#[derive(Debug, Clone, Default, Args)]
pub struct ClusterArgs {
    /// Kubeconfig file; by default those of KUBECONFIG, else ~/.kube/config, else the service account of the pod.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; by default its current one.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// A cluster, or one kube-apiserver of it.
#[derive(Clone)]
pub struct Cluster {
    pub(super) client: kube::Client,
    config: kube::Config,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The rest holds credentials.
        write!(f, "Cluster({})", self.config.cluster_url)
    }
}

impl Cluster {
    /// Reads the kubeconfig, and connects to nothing yet.
    ///
    /// # Errors
    /// If there is none, or it cannot be used.
    pub async fn new(args: &ClusterArgs) -> Result<Self, Diagnosis> {
        let config = config(args).await.map_err(|cause| {
            let remedy = "name a kubeconfig that kubectl can use with --kubeconfig FILE";
            Diagnosis::new(format!("kubeconfig: {cause}")).with_remedy(remedy)
        })?;
        Self::of(config)
    }

    fn of(mut config: kube::Config) -> Result<Self, Diagnosis> {
        // Requests are repeated here, where it is known which may be.
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        crate::vault::install_provider();
        let client = kube::Client::try_from(config.clone()).map_err(|error| {
            Diagnosis::new(format!("kubeconfig: {}", crate::vault::root_cause(&error)))
        })?;
        Ok(Self { client, config })
    }

    /// Where it is, as the kubeconfig names it.
    #[must_use]
    pub fn address(&self) -> String {
        self.config
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned()
    }

    /// One kube-apiserver of it at this URL, with the same CA and credentials. Its certificate has to be for
    /// `server_name`, or for the host of the URL.
    ///
    /// # Errors
    /// If the URL is invalid.
    pub fn at(&self, url: &str, server_name: Option<&str>) -> Result<Self, Diagnosis> {
        let mut config = self.config.clone();
        config.cluster_url = url
            .parse()
            .map_err(|error| Diagnosis::new(format!("{url}: {error}")))?;
        config.proxy_url = None;
        config.tls_server_name = server_name.map(str::to_owned);
        Self::of(config)
    }

    /// The name that the kubeconfig expects in the certificate, if it is not the host's.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.config.tls_server_name.as_deref()
    }
}

/// As kubectl finds it. In a pod there is no kubeconfig.
async fn config(args: &ClusterArgs) -> Result<kube::Config, String> {
    let options = KubeConfigOptions {
        context: args.context.clone(),
        ..KubeConfigOptions::default()
    };
    if let Some(file) = &args.kubeconfig {
        let kubeconfig = Kubeconfig::read_from(file).map_err(|error| error.to_string())?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
        return config.map_err(|error| error.to_string());
    }
    match kube::Config::from_kubeconfig(&options).await {
        Ok(config) => Ok(config),
        Err(error) if args.context.is_some() => Err(error.to_string()),
        Err(error) => kube::Config::incluster().map_err(|_| error.to_string()),
    }
}
