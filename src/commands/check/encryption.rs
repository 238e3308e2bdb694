//! kube-apiserver's EncryptionConfiguration: whether it uses our socket, and for what. The rules are
//! those by which kube-apiserver refuses a file (apiserver's `validation_encryption.go`), and those
//! of a working setup.

mod file;

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use super::format::listed;
use super::{KUBE_TIMEOUT, Report};
use crate::config::Config;
use crate::grpc::{KmsVersion, SocketPath};
use file::{File, Kms, Provider, Resource};

const NAME: &str = "encryption config";
/// A shorter timeout fails calls that a busy Vault would answer.
const SHORT: Duration = Duration::from_secs(1);

/// Checks the file; without a configuration of our own only the file by itself.
pub(super) fn check(path: &Path, config: Option<&Config>, report: &mut Report) {
    let shown = path.display();
    let file = match File::read(path) {
        Ok(file) => file,
        Err(problem) => {
            let remedy = "correct that file: kube-apiserver would not start with it";
            return report.error(NAME, format!("{shown}: {problem}"), remedy);
        }
    };
    let before = report.steps().len();
    names(&file, report);
    let Some(config) = config else { return };
    let found = ours(&file, &config.socket.path);
    if found.is_empty() {
        return report_endpoints(&file, &config.socket.path, report);
    }
    for (resource, position, kms) in &found {
        of_provider(kms, config.kms_version, report);
        order(resource, *position, report);
    }
    secrets(&found, report);
    if report.steps().len() == before {
        let texts: Vec<_> = found
            .iter()
            .map(|(resource, _, kms)| summary(resource, kms))
            .collect();
        report.ok(NAME, format!("{shown}: {}", texts.join("; ")));
    }
}

/// A provider, its resources, and its position among their providers.
type Ours<'a> = (&'a Resource, usize, &'a Kms);

fn providers(file: &File) -> impl Iterator<Item = Ours<'_>> {
    file.resources.iter().flat_map(|resource| {
        let numbered = resource.providers.iter().enumerate();
        numbered.filter_map(move |(position, one)| Some((resource, position, one.kms.as_ref()?)))
    })
}

fn ours<'a>(file: &'a File, socket: &SocketPath) -> Vec<Ours<'a>> {
    let all = providers(file);
    all.filter(|(_, _, kms)| dialled(&kms.endpoint).as_ref() == Ok(socket))
        .collect()
}

/// What kube-apiserver connects to: the path of the URL alone, whatever precedes it.
fn dialled(endpoint: &str) -> Result<SocketPath, &'static str> {
    let rest = endpoint
        .strip_prefix("unix:")
        .ok_or("it does not begin with unix://")?;
    let path = match rest.strip_prefix("//") {
        // What follows up to the next slash is taken for a host, and ignored.
        Some(after) => &after[after.find('/').unwrap_or(after.len())..],
        None => rest,
    };
    match path.strip_prefix("/@") {
        Some(name) => Ok(SocketPath::Abstract(name.to_owned())),
        None if path.starts_with('/') => Ok(SocketPath::File(path.into())),
        None => Err("it has no path: unix:/// needs three slashes"),
    }
}

fn endpoint_of(socket: &SocketPath) -> String {
    match socket {
        SocketPath::File(path) => format!("unix://{}", path.display()),
        SocketPath::Abstract(name) => format!("unix:///@{name}"),
    }
}

fn report_endpoints(file: &File, socket: &SocketPath, report: &mut Report) {
    let wanted = endpoint_of(socket);
    let mut any = false;
    for (_, _, kms) in providers(file) {
        any = true;
        let name = &kms.name;
        let endpoint = &kms.endpoint;
        let leads = match dialled(endpoint) {
            Ok(path) if endpoint_of(&path) == *endpoint => "is not this plugin's socket".to_owned(),
            Ok(path) => format!("leads to {path}, which is not this plugin's socket"),
            Err(problem) => format!("is invalid: {problem}"),
        };
        let text = format!("the endpoint {endpoint} of provider {name:?} {leads}");
        let remedy = format!("set `endpoint: {wanted}` there, or correct socket.path");
        report.error(NAME, text, &remedy);
    }
    if !any {
        let remedy = format!("add one with `endpoint: {wanted}` before all others");
        report.error(NAME, "it has no kms provider", &remedy);
    }
}

/// kube-apiserver requires each name of v2 to be unique in the file, and without a colon.
fn names(file: &File, report: &mut Report) {
    let mut seen = HashSet::new();
    for (_, _, kms) in providers(file) {
        let name = &kms.name;
        if name.is_empty() {
            report.error(
                NAME,
                "a kms provider has no name",
                "give it one and keep it: each object in etcd holds it",
            );
        } else if kms.api_version() == "v2" && name.contains(':') {
            let remedy = "remove the colon from the name";
            report.error(
                NAME,
                format!("the name {name:?} contains a colon, which KMS v2 forbids"),
                remedy,
            );
        } else if kms.api_version() == "v2" && !seen.insert(name) {
            let remedy = "put those resources under one provider, or give each a name and a plugin of its own";
            report.error(NAME, format!("the name {name:?} is used twice"), remedy);
        }
    }
}

fn of_provider(kms: &Kms, ours: KmsVersion, report: &mut Report) {
    let name = &kms.name;
    match (kms.api_version.as_deref(), kms.api_version()) {
        (None, _) => {
            let text = format!(
                "provider {name:?} has no apiVersion, which means v1: Kubernetes 1.29 and later reject that"
            );
            report.error(NAME, text, "add `apiVersion: v2` to it");
        }
        (_, "v1") => {
            let beside = match ours {
                KmsVersion::V2 => "",
                KmsVersion::V2Beta1 => "; kms_version does not affect it",
            };
            let text = format!(
                "provider {name:?} is v1: Kubernetes 1.29 and later require --feature-gates=KMSv1=true for it{beside}"
            );
            report.warning(NAME, text);
        }
        (_, "v2") => {}
        (_, other) => {
            let text = format!("provider {name:?} has the unknown apiVersion {other:?}");
            report.error(NAME, text, "write `apiVersion: v2`");
        }
    }
    if kms.cachesize.is_some() && kms.api_version() == "v2" {
        let text = format!("provider {name:?} has a cachesize, which KMS v2 forbids");
        report.error(NAME, text, "remove cachesize");
    }
    timeout(kms, report);
}

fn timeout(kms: &Kms, report: &mut Report) {
    let name = &kms.name;
    let text = kms.timeout.as_deref();
    let remedy = "write `timeout: 3s`";
    match text.map_or(Some(KUBE_TIMEOUT), file::go_duration) {
        None => {
            let text = format!(
                "the timeout {:?} of provider {name:?} is not a duration",
                text.unwrap_or_default()
            );
            report.error(NAME, text, remedy);
        }
        Some(Duration::ZERO) => report.error(
            NAME,
            format!("the timeout of provider {name:?} is zero"),
            remedy,
        ),
        Some(time) if time < SHORT => {
            let text = format!(
                "the timeout of provider {name:?} is {} ms, in which a busy Vault does not answer: 3s is the default",
                time.as_millis()
            );
            report.warning(NAME, text);
        }
        Some(_) => {}
    }
}

/// The first provider writes, the others only read.
fn order(resource: &Resource, position: usize, report: &mut Report) {
    if position == 0 {
        return;
    }
    let what = listed(&resource.resources);
    match resource.providers.first().map_or("", Provider::kind) {
        "identity" => {
            let text =
                format!("identity precedes the kms provider: {what} are written unencrypted");
            report.error(NAME, text, "put the kms provider first, and identity last");
        }
        other => {
            let text = format!(
                "{other} precedes the kms provider and writes {what}; this plugin only reads what it wrote before"
            );
            report.warning(NAME, text);
        }
    }
}

fn secrets(found: &[Ours<'_>], report: &mut Report) {
    let covers = |one: &String| matches!(one.as_str(), "secrets" | "*." | "*.*");
    if !found
        .iter()
        .any(|(resource, ..)| resource.resources.iter().any(covers))
    {
        report.warning(
            NAME,
            "secrets are not among the resources that this plugin encrypts",
        );
    }
}

fn summary(resource: &Resource, kms: &Kms) -> String {
    let timeout = kms.timeout.as_deref().unwrap_or("3s");
    let name = &kms.name;
    let version = kms.api_version();
    let what = listed(&resource.resources);
    format!("provider {name:?} ({version}, timeout {timeout}) uses this plugin and writes {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_parsed_as_kube_apiserver_parses_it() {
        let file = |path: &str| Ok(SocketPath::File(path.into()));
        assert_eq!(dialled("unix:///run/k.sock"), file("/run/k.sock"));
        assert_eq!(dialled("unix:/run/k.sock"), file("/run/k.sock"));
        assert_eq!(dialled("unix://run/k.sock"), file("/k.sock"));
        let name = SocketPath::Abstract("kms/a".to_owned());
        assert_eq!(dialled("unix:///@kms/a"), Ok(name));
        for wrong in [
            "unix://@kms",
            "unix:@kms",
            "/run/k.sock",
            "http://a/b",
            "unix://",
        ] {
            assert!(dialled(wrong).is_err(), "{wrong}");
        }
    }
}
