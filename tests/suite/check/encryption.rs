//! kube-apiserver's EncryptionConfiguration, compared with the plugin's configuration.

use super::super::harness::daemon::Builder;
use super::{Said, proven, valid};

pub(super) const IDENTITY: &str = "      - identity: {} # reads what was written before\n";

/// Writes the file of docs/install/kube-apiserver.md with another endpoint and version. Returns its path.
pub(super) fn written(builder: &Builder, endpoint: &str, version: &str) -> String {
    let text = format!(
        r#"apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: ["secrets"]
    providers:
      - kms:
          apiVersion: {version}
          name: vault
          endpoint: {endpoint}
          timeout: 3s
{IDENTITY}"#
    );
    let file = builder.write_file("encryption.yaml", &text);
    file.display().to_string()
}

/// Checks, without Vault, the file of docs/install/kube-apiserver.md after `change`.
async fn changed(change: impl Fn(&str) -> String) -> Said {
    let builder = valid();
    let endpoint = format!("unix://{}", builder.socket().display());
    let file = written(&builder, &endpoint, "v2");
    let text = std::fs::read_to_string(&file).unwrap();
    builder.write_file("encryption.yaml", &change(&text));
    proven(builder, &["--offline", "--encryption-config", &file]).await
}

/// The same after one replacement.
async fn with(from: &str, to: &str) -> Said {
    changed(|text| text.replace(from, to)).await
}

async fn the_file_of_the_readme_is_ok_also_as_json() {
    let said = changed(str::to_owned).await;
    let line = "provider \"vault\" (v2, timeout 3s) uses this plugin and writes secrets";
    said.ends_with(0).says("✓ encryption config: ").says(line);
    let json = |text: &str| {
        let after = text.split("endpoint: ").nth(1).unwrap();
        let endpoint = after.lines().next().unwrap();
        serde_json::json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": [{ "resources": ["secrets"], "providers": [
                { "kms": { "apiVersion": "v2", "name": "vault", "endpoint": endpoint } },
            ] }],
        })
        .to_string()
    };
    changed(json)
        .await
        .ends_with(0)
        .says("✓ encryption config: ");
}

async fn an_order_that_writes_unencrypted_is_a_warning_that_names_the_step() {
    let kms = "      - kms:";
    let identity_first = |text: &str| {
        let without = text.replace(IDENTITY, "");
        without.replace(kms, &format!("{IDENTITY}{kms}"))
    };
    let said = changed(identity_first).await;
    said.ends_with(0)
        .says("! encryption config: identity precedes the kms provider: ")
        .says(
            "secrets are written unencrypted; this is the first step of adding it to several nodes",
        )
        .says("    once every kube-apiserver has read this file, put the kms provider first");
    let aescbc =
        format!("      - aescbc: {{keys: [{{name: a, secret: AAECAwQFBgcICQoLDA0ODw==}}]}}\n{kms}");
    let said = with(kms, &aescbc).await;
    said.ends_with(0)
        .says("! encryption config: aescbc precedes the kms provider");
}

async fn what_kube_apiserver_rejects_is_an_error() {
    let table = [
        (
            "apiVersion: v2",
            "# none",
            "has no apiVersion",
            "otherwise add `apiVersion: v1`, which changes nothing, and for v2 another provider",
        ),
        (
            "apiVersion: v2",
            "apiVersion: v3",
            "the unknown apiVersion \"v3\"",
            "write `apiVersion: v2`",
        ),
        (
            "timeout: 3s",
            "timeout: [3]",
            "is not an EncryptionConfiguration",
            "correct that file",
        ),
        (
            "timeout: 3s",
            "timeout: \"3\"",
            "the timeout \"3\"",
            "write `timeout: 3s`",
        ),
        (
            "timeout: 3s",
            "cachesize: 100",
            "has a cachesize",
            "remove cachesize",
        ),
        (
            "name: vault",
            "name: a:b",
            "contains a colon",
            "remove the colon",
        ),
        (
            "endpoint:",
            "endpont:",
            "unknown field `endpont`",
            "correct that file",
        ),
        (
            "kind: Encry",
            "kind: Other",
            "it does not have apiVersion",
            "correct that file",
        ),
        (
            "unix:///",
            "unix://",
            "leads to /",
            "set `endpoint: unix:///",
        ),
    ];
    for (from, to, cause, remedy) in table {
        with(from, to).await.ends_with(78).names(cause, remedy);
    }
}

async fn what_an_operator_should_know_is_a_warning() {
    let table = [
        (
            "apiVersion: v2",
            "apiVersion: v1",
            "require --feature-gates=KMSv1=true",
        ),
        (
            "timeout: 3s",
            "timeout: 200ms",
            "in which a busy Vault does not answer",
        ),
        (
            "[\"secrets\"]",
            "[\"configmaps\"]",
            "secrets are not among the resources",
        ),
    ];
    for (from, to, warning) in table {
        with(from, to).await.ends_with(0).says(warning);
    }
}

tests! {
    single the_file_of_the_readme_is_ok_also_as_json;
    single an_order_that_writes_unencrypted_is_a_warning_that_names_the_step;
    single what_kube_apiserver_rejects_is_an_error;
    single what_an_operator_should_know_is_a_warning;
}
