//! What the policies of the token allow: all that is needed, and nothing more. Nothing is done to
//! the paths that are asked about.

use std::time::Duration;

use tokio::time::Instant;

use super::Report;
use super::words::listed;
use crate::keys;
use crate::vault::{ApiErrorKind, Client, Token, TransitKey};

const NAME: &str = "capabilities";
const LIMIT: Duration = Duration::from_secs(3);

/// A path, and the one thing that the plugin does there.
struct Wanted {
    path: String,
    word: &'static str,
}

/// Asks about all keys.
pub(super) async fn look(
    client: &Client,
    settings: &keys::Settings,
    token: &Token,
    report: &mut Report,
) {
    let before = report.steps().len();
    let mut fine = of_key(client, &settings.key, &own(&settings.key), token, report).await;
    for key in &settings.decrypt_also {
        let wanted = vec![wanted(key, "decrypt", "update")];
        fine.extend(of_key(client, key, &wanted, token, report).await);
    }
    stranger(client, &settings.key, token, report).await;
    if report.steps().len() == before {
        report.ok(NAME, format!("{}, and nothing more", listed(&fine)));
    }
}

fn own(key: &TransitKey) -> Vec<Wanted> {
    let operations = [
        ("encrypt", "update"),
        ("decrypt", "update"),
        ("keys", "read"),
    ];
    let all = operations.map(|(operation, word)| wanted(key, operation, word));
    all.into()
}

fn wanted(key: &TransitKey, operation: &str, word: &'static str) -> Wanted {
    let path = key.path(operation);
    Wanted { path, word }
}

/// Tells what is missing and what is too much; gives what is as it should be.
async fn of_key(
    client: &Client,
    key: &TransitKey,
    wanted: &[Wanted],
    token: &Token,
    report: &mut Report,
) -> Vec<String> {
    let paths: Vec<_> = wanted.iter().map(|one| one.path.clone()).collect();
    let deadline = Instant::now() + LIMIT;
    let asked = client.capabilities(&key.namespace, token, &paths, deadline);
    let granted = match asked.await {
        Ok(granted) => granted,
        Err(error) if error.api_error() == Some(ApiErrorKind::PolicyDenied) => {
            report.warning(
                NAME,
                "without the default policy it may not ask for them: the next steps show them",
            );
            return Vec::new();
        }
        Err(error) => {
            report.unavailable(
                NAME,
                format!("vault: {error}"),
                "try again once vault answers",
            );
            return Vec::new();
        }
    };
    let mut fine = Vec::new();
    for (one, granted) in wanted.iter().zip(granted) {
        judge(one, &granted, report);
        fine.push(format!("{} on {}", one.word, one.path));
    }
    fine
}

fn judge(wanted: &Wanted, granted: &[String], report: &mut Report) {
    let Wanted { path, word } = wanted;
    // Told of with the token itself.
    if granted.iter().any(|one| one == "root") {
        return;
    }
    if !granted.iter().any(|one| one == word) {
        let text = format!("the policy of this token does not grant `{word}` on {path}");
        let remedy = "grant it (deploy/policy.hcl shows all that is needed), or correct transit.key, transit.mount, vault.namespace";
        report.unavailable(NAME, text, remedy);
    }
    let more: Vec<_> = granted.iter().filter(|one| one != word).cloned().collect();
    if more.iter().any(|one| one == "create") && path.contains("/encrypt/") {
        let text = format!(
            "the policy grants `create` on {path}: a mistyped key name would make a new key; grant `update` alone"
        );
        report.warning(NAME, text);
    } else if !more.is_empty() {
        let text = format!(
            "the policy grants {} on {path}, which is never needed",
            listed(&more)
        );
        report.warning(NAME, text);
    }
}

/// A policy with a wildcard allows what it names nowhere: a key that nobody has, for one.
async fn stranger(client: &Client, key: &TransitKey, token: &Token, report: &mut Report) {
    let name: String = std::iter::repeat_with(fastrand::lowercase)
        .take(12)
        .collect();
    let mount = key.mount.as_str();
    let paths = ["encrypt", "decrypt", "keys"].map(|what| format!("{mount}/{what}/{name}"));
    let deadline = Instant::now() + LIMIT;
    let asked = client.capabilities(&key.namespace, token, &paths, deadline);
    let Ok(granted) = asked.await else { return };
    let is_wild = |granted: &Vec<String>| !granted.is_empty() && granted[0] != "root";
    let wild = paths
        .iter()
        .zip(&granted)
        .filter(|(_, granted)| is_wild(granted));
    let shown: Vec<_> = wild.map(|(path, _)| path.replace(&name, "*")).collect();
    if !shown.is_empty() {
        let text = format!(
            "the policy has a wildcard and covers keys of every name ({}): name the key instead",
            shown.join(", ")
        );
        report.warning(NAME, text);
    }
}
