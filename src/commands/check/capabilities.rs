//! What the policies of the token allow: all that is needed, and nothing more. Does nothing to the
//! paths.

use tokio::time::Instant;

use super::format::listed;
use super::{REQUEST_TIMEOUT, Report};
use crate::keys;
use crate::vault::{ApiErrorKind, Client, Token, TransitKey};

const NAME: &str = "capabilities";

/// A path, and the one capability that the plugin needs on it.
struct Required {
    path: String,
    capability: &'static str,
}

/// Checks all keys.
pub(super) async fn check(
    client: &Client,
    settings: &keys::Settings,
    token: &Token,
    report: &mut Report,
) {
    let before = report.steps().len();
    let own = required_for(&settings.key);
    let mut granted = check_key(client, &settings.key, &own, token, report).await;
    for key in &settings.decrypt_also {
        let required = [Required::new(key, "decrypt", "update")];
        granted.extend(check_key(client, key, &required, token, report).await);
    }
    warn_about_wildcards(client, &settings.key, token, report).await;
    if report.steps().len() == before {
        report.ok(NAME, format!("{}, and nothing more", listed(&granted)));
    }
}

fn required_for(key: &TransitKey) -> Vec<Required> {
    let operations = [
        ("encrypt", "update"),
        ("decrypt", "update"),
        ("keys", "read"),
    ];
    operations
        .map(|(operation, capability)| Required::new(key, operation, capability))
        .into()
}

impl Required {
    fn new(key: &TransitKey, operation: &str, capability: &'static str) -> Self {
        let path = key.path(operation);
        Self { path, capability }
    }
}

/// Reports what is missing and what is too much. Returns what is required, if Vault answered.
async fn check_key(
    client: &Client,
    key: &TransitKey,
    required: &[Required],
    token: &Token,
    report: &mut Report,
) -> Vec<String> {
    let paths: Vec<_> = required.iter().map(|one| one.path.clone()).collect();
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    let granted = client
        .capabilities(&key.namespace, token, &paths, deadline)
        .await;
    let granted = match granted {
        Ok(granted) => granted,
        Err(error) if error.api_error() == Some(ApiErrorKind::PolicyDenied) => {
            report.warning(
                NAME,
                "cannot query capabilities (no \"default\" policy); the next steps test them instead",
            );
            return Vec::new();
        }
        Err(error) => {
            let error = error.diagnosis().about("vault");
            report.unavailable(NAME, error, "try again once Vault answers");
            return Vec::new();
        }
    };
    let mut texts = Vec::new();
    for (one, granted) in required.iter().zip(granted) {
        compare(one, &granted, report);
        texts.push(format!("{} on {}", one.capability, one.path));
    }
    texts
}

fn compare(required: &Required, granted: &[String], report: &mut Report) {
    let Required { path, capability } = required;
    // Reported with the token itself.
    if granted.iter().any(|one| one == "root") {
        return;
    }
    if !granted.iter().any(|one| one == capability) {
        let text = format!("the policy of this token does not grant `{capability}` on {path}");
        let remedy = "grant it (deploy/policy.hcl shows all that is needed), or correct transit.key, transit.mount, vault.namespace";
        report.unavailable(NAME, text, remedy);
    }
    let excess: Vec<_> = granted
        .iter()
        .filter(|one| *one != capability)
        .cloned()
        .collect();
    if excess.iter().any(|one| one == "create") && path.contains("/encrypt/") {
        let text = format!(
            "the policy grants `create` on {path}: a mistyped key name would create a new key; grant `update` alone"
        );
        report.warning(NAME, text);
    } else if !excess.is_empty() {
        let text = format!(
            "the policy grants {} on {path}, which is never needed",
            listed(&excess)
        );
        report.warning(NAME, text);
    }
}

/// A policy with a wildcard also allows a key of a random name, which does not exist.
async fn warn_about_wildcards(
    client: &Client,
    key: &TransitKey,
    token: &Token,
    report: &mut Report,
) {
    let name: String = std::iter::repeat_with(fastrand::lowercase)
        .take(12)
        .collect();
    let mount = key.mount.as_str();
    let paths = ["encrypt", "decrypt", "keys"].map(|what| format!("{mount}/{what}/{name}"));
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    let granted = client
        .capabilities(&key.namespace, token, &paths, deadline)
        .await;
    let Ok(granted) = granted else { return };
    let is_allowed = |granted: &Vec<String>| !granted.is_empty() && granted[0] != "root";
    let allowed = paths
        .iter()
        .zip(&granted)
        .filter(|(_, granted)| is_allowed(granted));
    let shown: Vec<_> = allowed.map(|(path, _)| path.replace(&name, "*")).collect();
    if !shown.is_empty() {
        let text = format!(
            "the policy has a wildcard and covers keys of every name ({}): name the key instead",
            shown.join(", ")
        );
        report.warning(NAME, text);
    }
}
