//! What can be checked without Vault: the configuration, and the files that it names.

use std::io;
use std::path::Path;

use rustix::process::geteuid;
use tracing::instrument::WithSubscriber;

use super::Report;
use super::environment::{self, Host};
use super::warnings::Warnings;
use crate::config::{Config, Source};
use crate::diagnosis::Diagnosis;
use crate::grpc::BoundSocket;
use crate::system::locked_page::LockedPage;
use crate::system::socket_file::SocketError;
use crate::telemetry::metrics::Metrics;
use crate::vault::{BuildError, Client};

/// Where systemd puts the credentials of services.
const CREDENTIALS: &str = "/run/credentials";

/// Checks the configuration of `source`, whose environment is that of `host`. Returns what further steps need; `None` if it is invalid.
pub(super) async fn check(
    source: &Source,
    host: Host,
    report: &mut Report,
) -> Option<(Box<Config>, Option<Client>)> {
    let warnings = Warnings::default();
    let checked = check_all(source, host, report)
        .with_subscriber(warnings.subscriber())
        .await;
    for warning in warnings.take() {
        report.warning("files", warning);
    }
    checked
}

async fn check_all(
    source: &Source,
    host: Host,
    report: &mut Report,
) -> Option<(Box<Config>, Option<Client>)> {
    let config = configuration(source, host, report)?;
    let client = certificates(&config, report);
    if let Err(error) = BoundSocket::refuse_other_files(&config.socket.path) {
        let cause = match &error.0 {
            SocketError::NotASocket(path) => {
                format!("socket.path: {} exists and is not a socket", path.display())
            }
            _ => error.to_string(),
        };
        report.error("socket", cause, "move it away or choose another path");
    }
    credentials(&config, report).await;
    seed_cache(&config, report);
    Some((Box::new(config), client))
}

fn configuration(source: &Source, host: Host, report: &mut Report) -> Option<Config> {
    const NAME: &str = "configuration";
    let origin = match source.path() {
        Some(path) => path.display().to_string(),
        None => "the environment".to_owned(),
    };
    let own = geteuid();
    // Run by root, it cannot know the user of the daemon.
    let own = (!own.is_root()).then(|| own.as_raw());
    let config = match source.load_trusted(own) {
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
                let from = match &error.variable {
                    Some(variable) => format!(" (from {variable})"),
                    None => String::new(),
                };
                let diagnosis = Diagnosis {
                    cause: format!("{}: {}{from}", error.key, error.cause),
                    remedy: error.remedy.clone(),
                };
                report.error(NAME, diagnosis, remedy);
            }
            return None;
        }
    };
    report.ok(NAME, format!("{origin} is valid"));
    environment::report(&config.origins, host, report);
    for warning in &config.warnings {
        report.warning(NAME, warning.clone());
    }
    Some(config)
}

fn certificates(config: &Config, report: &mut Report) -> Option<Client> {
    const NAME: &str = "certificates";
    let vault = &config.vault;
    let certificate = vault.client_certificate.as_ref();
    let files = [
        vault.ca_file.as_deref(),
        vault.ca_dir.as_deref(),
        certificate.map(|it| it.cert_file.as_path()),
        certificate.and_then(|it| it.key_file.as_deref()),
    ];
    let mut hidden = files.into_iter().flatten().filter(|file| is_hidden(file));
    if let Some(file) = hidden.next() {
        report.warning(NAME, hidden_text(file));
        return None;
    }
    Client::new(vault, Metrics::default())
        .map_err(|error| report_build_error(error, report))
        .ok()
}

/// Whether the seed cache would have its locked page, if this process has the limits of the daemon.
fn seed_cache(config: &Config, report: &mut Report) {
    const NAME: &str = "seed cache";
    let Some(settings) = config.outage.settings() else {
        return;
    };
    let max_age = humantime::format_duration(settings.max_age);
    match LockedPage::new() {
        Ok(_) => report.ok(
            NAME,
            format!(
                "seeds stay in memory, and are answered for {max_age} after vault's last success{}",
                with_local_kek(config, settings.local_kek)
            ),
        ),
        Err(problem) => report.error(
            NAME,
            problem.about("outage.seed_cache"),
            "let the process lock memory, or set outage.seed_cache = \"off\"",
        ),
    }
}

fn with_local_kek(config: &Config, is_on: bool) -> String {
    if !is_on {
        return String::new();
    }
    let fail_after = humantime::format_duration(config.keys.limits.fail_after);
    format!(
        "; a kube-apiserver that starts meanwhile gets a seed under the local KEK for {fail_after} (health.fail_after), which \
         only this plugin reads"
    )
}

/// Reports a certificate that cannot be used.
pub(super) fn report_build_error(error: BuildError, report: &mut Report) {
    let remedy = format!("correct that file, or name another one in {}", error.key);
    let diagnosis = Diagnosis {
        cause: format!("{}: {}", error.key, error.cause),
        remedy: error.remedy,
    };
    report.error("certificates", diagnosis, &remedy);
}

/// Warnings only: the daemon starts without credentials, and waits for them.
async fn credentials(config: &Config, report: &mut Report) {
    for credential in config.auth.credentials() {
        let problem = match credential.path() {
            Some(path) if is_hidden(path) => Some(Diagnosis::new(hidden_text(path))),
            _ => credential.problem().await,
        };
        if let Some(problem) = problem {
            report.warning("credentials", problem);
        }
    }
}

/// Reports that the files are fine, unless a step before has reported a problem.
pub(super) fn files(config: &Config, report: &mut Report) {
    const NAMES: [&str; 3] = ["files", "credentials", "certificates"];
    if NAMES.iter().any(|name| report.has_problem(name)) {
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

/// Whether this is a service's credential that this process cannot see: systemd (252) hides the
/// credentials of a service from the commands of its own reload.
fn is_hidden(path: &Path) -> bool {
    let is_denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    path.starts_with(CREDENTIALS) && std::fs::metadata(path).is_err_and(is_denied)
}

fn hidden_text(path: &Path) -> String {
    let path = path.display();
    format!("{path} cannot be checked from here: systemd shows it only to the service itself")
}
