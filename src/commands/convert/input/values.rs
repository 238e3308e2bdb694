//! The values of the Helm chart of `vault-kms-provider`: what its ConfigMap makes of them
//! (`helm/templates/configurations/config-map.yaml`), with the chart's own defaults.

use super::super::mounts::{Mount, Volume};
use super::{Input, flatten, scalar};
use crate::commands::document::value::Value;

/// A variable, the value that it comes from, and the chart's default.
const VARIABLES: [(&str, &str, &str); 8] = [
    ("LOG_LEVEL", "logging.level", "info"),
    ("LOG_FORMAT", "logging.format", "json"),
    ("SOCKET_PERMISSIONS", "socket.permissions", "any"),
    (
        "VAULT_ADDRESS",
        "vault.address",
        "https://vault.vault.svc.cluster.local:8200",
    ),
    (
        "VAULT_TRANSIT_KEY",
        "vault.transit.key",
        "vault-kms-provider",
    ),
    ("VAULT_AUTH_MOUNT", "vault.authentication.path", ""),
    ("VAULT_CA_CERT", "vault.ca.file", ""),
    ("VAULT_CA_PATH", "vault.ca.directory", "/etc/ssl/certs"),
];
/// Values that say how and where the pod runs, which the new manifest says in its own way.
const OF_THE_POD: [&str; 24] = [
    "image.",
    "configMap.",
    "socketVolume.",
    "nodeLabel.",
    "nodeSelector.",
    "tolerations",
    "priorityClassName",
    "podSecurityContext.",
    "securityContext.",
    "livenessProbe.",
    "startupProbe.",
    "readinessProbe.",
    "serviceAccount.",
    "role.",
    "encryption.",
    "replicas",
    "podAnnotations.",
    "podLabels.",
    "affinity.",
    "resources.",
    "socket.",
    "service.",
    "vault.transit.path",
    "volumes",
];

/// Adds what the values say.
pub(super) fn add(document: &Value, input: &mut Input) {
    input.is_pod = true;
    input.is_chart = true;
    let mut fields = Vec::new();
    flatten("", document, &mut fields);
    let value = |name: &str, default: &str| {
        let found = fields.iter().find(|(field, _)| field == name);
        found
            .map_or(default, |(_, value)| value.as_str())
            .to_owned()
    };
    let mut set = |name: &str, value: String| input.variables.push((name.to_owned(), value));
    for (variable, name, default) in VARIABLES {
        set(variable, value(name, default));
    }
    let dir = value("socket.path", "/run/sockets");
    let name = value("socket.name", "vault-kms-provider.sock");
    set("SOCKET_PATH", format!("{dir}/{name}"));
    let (host, port) = (
        value("service.host", "0.0.0.0"),
        value("service.port", "8080"),
    );
    set("HTTP_ADDRESS", format!("{host}:{port}"));
    set("VAULT_TRANSIT_PATH", value("vault.transit.path", "transit"));
    let token_dir = value("serviceAccount.token.path", "/var/run/secrets/tokens");
    let token = value("serviceAccount.token.name", "vault-jwt");
    set("VAULT_KUBERNETES_JWT_PATH", format!("{token_dir}/{token}"));
    let mounts = input.mounts.get_or_insert_default();
    mounts.push(Mount {
        path: dir.into(),
        volume: Volume::Host(value("socketVolume.hostPath", "/mnt").into()),
    });
    mounts.push(Mount {
        path: token_dir.into(),
        volume: Volume::Other("projected".to_owned()),
    });
    let known = |field: &str| {
        VARIABLES.iter().any(|(_, name, _)| *name == field)
            || OF_THE_POD
                .iter()
                .any(|it| field == it.trim_end_matches('.') || field.starts_with(it))
    };
    let unknown: Vec<_> = fields
        .iter()
        .filter(|(field, value)| !known(field) && !value.is_empty())
        .collect();
    for (field, _) in &unknown {
        if field.starts_with("env.")
            || field.starts_with("envFrom.")
            || field == "env"
            || field == "envFrom"
        {
            continue;
        }
        input.errors.push(format!(
            "{field}: is no value of the chart of vault-kms-provider; correct or remove it"
        ));
    }
    for entry in document.get("env").map(Value::items).unwrap_or_default() {
        let name = entry.get("name").and_then(Value::text);
        match (name, entry.get("value").and_then(scalar)) {
            (Some(name), Some(value)) => {
                input.variables.retain(|(other, _)| other != name);
                input.variables.push((name.to_owned(), value));
            }
            (name, _) => input.error(
                name.unwrap_or("env"),
                "its value is not in the chart's values: give it as NAME=VALUE in a file with --input",
            ),
        }
    }
    if document
        .get("envFrom")
        .is_some_and(|it| !it.items().is_empty() || !it.entries().is_empty())
    {
        input.error(
            "envFrom",
            "replaces the chart's ConfigMap: give the file of the one that it names with --input, instead of the values",
        );
    }
}
