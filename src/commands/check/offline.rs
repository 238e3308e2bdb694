//! What can be told without Vault: the configuration, and the files that it names.

use std::io;
use std::path::Path;

use tracing::instrument::WithSubscriber;

use super::Report;
use super::warnings::Warnings;
use crate::config::{Config, Source};
use crate::grpc::BoundSocket;
use crate::session::Diagnosis;
use crate::telemetry::metrics::Metrics;
use crate::vault::Client;

/// Where systemd puts the credentials of services.
const CREDENTIALS: &str = "/run/credentials";

/// Checks what `source` holds, as far as that goes without Vault. Gives what further steps need,
/// unless it is wrong.
pub(super) async fn offline(
    source: &Source,
    report: &mut Report,
) -> Option<(Box<Config>, Option<Client>)> {
    let warnings = Warnings::default();
    let checked = look(source, report)
        .with_subscriber(warnings.subscriber())
        .await;
    for warning in warnings.take() {
        report.warning("files", warning);
    }
    checked
}

async fn look(source: &Source, report: &mut Report) -> Option<(Box<Config>, Option<Client>)> {
    let config = configuration(source, report)?;
    let client = certificates(&config, report);
    if let Err(error) = BoundSocket::refuse_other_files(&config.socket.path) {
        let trouble = Diagnosis::split(&error.to_string(), ": ");
        report.error("socket", trouble.cause, &trouble.remedy);
    }
    credentials(&config, report).await;
    Some((Box::new(config), client))
}

fn configuration(source: &Source, report: &mut Report) -> Option<Config> {
    const NAME: &str = "configuration";
    let origin = match source.path() {
        Some(path) => path.display().to_string(),
        None => "what the environment says".to_owned(),
    };
    let config = match source.load() {
        Ok(config) => config,
        Err(errors) => {
            let remedy = match source.path() {
                Some(path) if path.exists() => {
                    "correct that in the configuration file, or in the environment"
                }
                Some(_) => "write that file, or name another one with --config",
                None => "name a file with --config, or correct the environment",
            };
            for error in errors.iter() {
                report.error(NAME, error.to_string(), remedy);
            }
            return None;
        }
    };
    report.ok(NAME, format!("{origin} is valid"));
    for warning in &config.warnings {
        report.warning(NAME, warning);
    }
    Some(config)
}

fn certificates(config: &Config, report: &mut Report) -> Option<Client> {
    const NAME: &str = "certificates";
    let vault = &config.vault;
    let shown = vault.client_certificate.as_ref();
    let files = [
        vault.ca_file.as_deref(),
        vault.ca_dir.as_deref(),
        shown.map(|it| it.cert_file.as_path()),
        shown.and_then(|it| it.key_file.as_deref()),
    ];
    let mut hidden = files.into_iter().flatten().filter(|file| is_hidden(file));
    if let Some(file) = hidden.next() {
        report.warning(NAME, not_shown(file));
        return None;
    }
    let client = Client::new(vault, Metrics::default());
    client
        .map_err(|error| {
            let remedy = format!("correct that file, or name another one in {}", error.key());
            report.error(NAME, error.to_string(), &remedy);
        })
        .ok()
}

/// The daemon starts without them, and waits for them.
async fn credentials(config: &Config, report: &mut Report) {
    for credential in config.auth.credentials() {
        let problem = match credential.path() {
            Some(path) if is_hidden(path) => Some(not_shown(path)),
            _ => credential.problem().await,
        };
        if let Some(problem) = problem {
            report.warning("credentials", problem);
        }
    }
}

/// Says that nothing was found wrong with the files, where that is so.
pub(super) fn files(config: &Config, report: &mut Report) {
    const NAMES: [&str; 3] = ["files", "credentials", "certificates"];
    if NAMES.iter().any(|name| report.complains_of(name)) {
        return;
    }
    let credentials = config.auth.credentials();
    let paths = credentials.iter().filter_map(|one| one.path());
    let shown: Vec<_> = paths.map(|path| path.display().to_string()).collect();
    let text = match shown.as_slice() {
        [] => "no credential is read from a file".to_owned(),
        some => format!(
            "{} can be read, and not by every local user",
            some.join(" and ")
        ),
    };
    report.ok("files", text);
}

/// Whether this is a credential of a service that is kept from this process. systemd (252) keeps
/// those of a service from the commands of its own reload.
fn is_hidden(path: &Path) -> bool {
    let denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    path.starts_with(CREDENTIALS) && std::fs::metadata(path).is_err_and(denied)
}

fn not_shown(path: &Path) -> String {
    let path = path.display();
    format!("{path} cannot be looked at from here: systemd shows it to the service itself alone")
}
