//! kube-apiserver's EncryptionConfiguration: whether kube-apiserver accepts it, what writes each
//! resource, and whether that is this plugin.

mod coverage;
mod decode;

mod endpoint;
mod file;
mod finding;
mod fingerprint;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(feature = "kmsctl")]
mod manifest;
mod ours;
#[cfg(feature = "kmsctl")]
mod plan;
#[cfg(feature = "kmsctl")]
mod providers;
mod refusal;
mod resource;
mod rules;
mod writers;

use std::io::{self, ErrorKind};
use std::path::Path;

use super::report::{Outcome, Report};
use crate::config::Config;
use crate::diagnosis::Diagnosis;
use crate::grpc::{KmsVersion, SocketPath};
use crate::system::root_dir::RootDir;
use file::File;
use finding::Finding;
pub(in crate::commands) use fingerprint::fingerprint;
#[cfg(feature = "kmsctl")]
pub(crate) use manifest::apiserver_command;
#[cfg(feature = "kmsctl")]
pub(crate) use plan::{KmsProvider, Plan, Writer};
#[cfg(feature = "kmsctl")]
pub(crate) use providers::NamedProvider;
use refusal::{Refusal, When};
use writers::Writers;

const NAME: &str = "encryption config";

/// Checks a file with this content, of a kube-apiserver with this root directory or of this host; without a
/// configuration of our own only the file by itself.
pub(in crate::commands) fn check(
    path: &Path,
    text: io::Result<Vec<u8>>,
    root: Option<&RootDir>,
    config: Option<&Config>,
    report: &mut Report,
) {
    let shown = path.display().to_string();
    let text = match text {
        Ok(text) => text,
        Err(error) => return add(unreadable(&shown, &error), report),
    };
    let (file, mut refusals) = match decode::decode(&text) {
        Ok((file, refusals)) => (file, refusals),
        Err(refusals) => {
            let refused = refusals.into_iter().map(|one| refused(&shown, one, None));
            return refused.for_each(|finding| add(finding, report));
        }
    };
    refusals.extend(rules::refusals(&file));
    let is_refused = refusals.iter().any(|one| one.when.is_certain());
    let is_never_accepted = refusals.iter().any(|one| one.when == When::Always);
    let kms_version = config.map(|config| config.kms_version);
    for refusal in refusals {
        // Releases that ignore a misspelt apiVersion take the provider for v1.
        let is_v1 = matches!(refusal.when, When::NoKmsV1 { .. });
        if refusal.when.is_certain() || !is_refused || (is_v1 && !is_never_accepted) {
            add(refused(&shown, refusal, kms_version), report);
        }
    }
    if !is_refused {
        accepted(&shown, &file, root, config, report);
    }
}

/// The sockets of the providers of this file that are the plugin's, as kube-apiserver names them.
pub(super) fn own_sockets(text: &[u8], root: &RootDir, config: &Config) -> Vec<SocketPath> {
    let Ok((file, _)) = decode::decode(text) else {
        return Vec::new();
    };
    let ours = ours::ours(&file, Some(root), &config.socket.path);
    let sockets = ours.iter().map(|kms| endpoint::dialled(&kms.endpoint));
    sockets.filter_map(Result::ok).collect()
}

/// What the file does.
fn accepted(
    shown: &str,
    file: &File,
    root: Option<&RootDir>,
    config: Option<&Config>,
    report: &mut Report,
) {
    let ours = config.map(|config| ours::ours(file, root, &config.socket.path));
    let ours = ours.unwrap_or_default();
    let mut settings: Vec<_> = ours.iter().filter_map(|kms| ours::settings(kms)).collect();
    settings.dedup();
    let is_elsewhere = ours.is_empty();
    let writers = Writers::new(file, ours);
    if let Some(facts) = writers.facts() {
        report.ok(NAME, format!("{shown}: {facts}"));
    }
    let mut findings = settings;
    if let Some(config) = config
        && is_elsewhere
    {
        findings.extend(ours::others(file, &config.socket.path));
    }
    findings.extend(writers.warnings());
    for finding in findings {
        add(finding, report);
    }
}

/// That it cannot be read says nothing about kube-apiserver, which may run as another user or see
/// another file there.
fn unreadable(shown: &str, error: &io::Error) -> Finding {
    let remedy = match error.kind() {
        ErrorKind::PermissionDenied => "run check as a user that may read it, such as root",
        ErrorKind::NotFound => {
            "name the file of kube-apiserver's --encryption-provider-config by its path on this host"
        }
        _ => "name a file that can be read",
    };
    Finding::error(
        format!("{shown}: cannot be read from here: {error}"),
        remedy,
    )
}

/// Why and when kube-apiserver refuses the file.
fn refused(shown: &str, refusal: Refusal, ours: Option<KmsVersion>) -> Finding {
    let Diagnosis { cause, remedy } = refusal.problem;
    let beside = match ours {
        Some(KmsVersion::V2Beta1) => "; kms_version does not affect it",
        Some(KmsVersion::V2) | None => "",
    };
    let (outcome, cause) = match refusal.when {
        When::Always => (
            Outcome::Error,
            format!("{shown}: refused by kube-apiserver: {cause}"),
        ),
        When::Strict => (
            Outcome::Error,
            format!("{shown}: refused by Kubernetes 1.31 and later: {cause}"),
        ),
        When::Unknown => (
            Outcome::Error,
            format!("{shown}: cannot be examined: {cause}"),
        ),
        When::Reload => (
            Outcome::Warning,
            format!(
                "{cause}: with --encryption-provider-config-automatic-reload=true kube-apiserver refuses that"
            ),
        ),
        When::NoKmsV1 { is_written } => (
            if is_written {
                Outcome::Warning
            } else {
                Outcome::Error
            },
            format!(
                "{cause}: Kubernetes 1.29 and later require --feature-gates=KMSv1=true for it{beside}"
            ),
        ),
    };
    Finding {
        outcome,
        text: Diagnosis { cause, remedy },
    }
}

fn add(finding: Finding, report: &mut Report) {
    match finding.outcome {
        Outcome::Ok => report.ok(NAME, finding.text),
        Outcome::Warning => report.warning(NAME, finding.text),
        Outcome::Error | Outcome::Unavailable => report.error(NAME, finding.text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_not_be_read_is_not_called_refused() {
        let denied = io::Error::from(ErrorKind::PermissionDenied);
        let Finding { outcome, text } = unreadable("/e.yaml", &denied);
        assert_eq!(outcome, Outcome::Error);
        assert_eq!(
            text.cause,
            "/e.yaml: cannot be read from here: permission denied"
        );
        let remedy = "run check as a user that may read it, such as root";
        assert_eq!(text.remedy.as_deref(), Some(remedy));
    }
}
