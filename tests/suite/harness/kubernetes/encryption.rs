//! The file that tells kube-apiserver about a KMS plugin.

use std::path::Path;

/// Secrets through a KMS plugin, and what was written in the clear stays readable.
#[derive(Clone, Debug)]
pub struct EncryptionConfiguration;

impl EncryptionConfiguration {
    /// YAML for KMS v2 over a socket path, or `@name`.
    pub fn v2(socket: &Path) -> String {
        yaml("v2", socket)
    }

    /// YAML for KMS v1, which wants the feature gate `KMSv1=true`.
    pub fn v1(socket: &Path) -> String {
        yaml("v1", socket)
    }
}

fn yaml(version: &str, socket: &Path) -> String {
    let socket = socket.to_string_lossy();
    format!(
        "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - kms:
      apiVersion: {version}
      name: vault
      endpoint: \"unix:///{}\"
      timeout: 3s
  - identity: {{}}
",
        socket.trim_start_matches('/')
    )
}
