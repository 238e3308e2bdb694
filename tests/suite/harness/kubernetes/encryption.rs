//! The file that tells kube-apiserver about a KMS plugin.

use std::path::Path;

/// Secrets through a KMS plugin, and what was written in the clear stays readable.
#[derive(Clone, Debug)]
pub struct EncryptionConfiguration;

impl EncryptionConfiguration {
    /// YAML for KMS v2 over a socket path, or `@name`.
    pub fn v2(socket: &Path) -> String {
        Self::providers(socket, &[("v2", "vault")])
    }

    /// YAML for KMS v1, which wants the feature gate `KMSv1=true`.
    pub fn v1(socket: &Path) -> String {
        Self::providers(socket, &[("v1", "vault")])
    }

    /// YAML for several providers on one socket, each a version of the API and a name: the first
    /// one writes, all of them read.
    pub fn providers(socket: &Path, providers: &[(&str, &str)]) -> String {
        let kms: String = providers
            .iter()
            .map(|(version, name)| provider(version, name, socket))
            .collect();
        format!(
            "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
{kms}  - identity: {{}}
"
        )
    }
}

fn provider(version: &str, name: &str, socket: &Path) -> String {
    let socket = socket.to_string_lossy();
    format!(
        "  - kms:
      apiVersion: {version}
      name: {name}
      endpoint: \"unix:///{}\"
      timeout: 3s
",
        socket.trim_start_matches('/')
    )
}
