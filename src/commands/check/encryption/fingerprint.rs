//! The fingerprint of an EncryptionConfiguration: the same if kube-apiserver does the same, however the
//! file is written.

use serde_json::{Value, json};

use super::file::{Entry, Kms, Local, Provider};
use super::{decode, rules};
use crate::sha256::short_hash;

/// The fingerprint; no key is in it.
///
/// # Errors
/// If kube-apiserver would not accept the file.
pub(in crate::commands) fn fingerprint(text: &[u8]) -> Result<String, String> {
    let read = decode::decode(text).and_then(|(file, mut refusals)| {
        refusals.extend(rules::refusals(&file));
        refusals.retain(|one| one.when.is_certain());
        if refusals.is_empty() {
            Ok(file)
        } else {
            Err(refusals)
        }
    });
    let file = read.map_err(|refusals| {
        let causes = refusals.into_iter().map(|one| one.problem.cause);
        causes.collect::<Vec<_>>().join("; ")
    })?;
    let entries: Vec<_> = file.entries.iter().map(entry).collect();
    Ok(short_hash(Value::from(entries).to_string().as_bytes()))
}

fn entry(entry: &Entry) -> Value {
    let providers: Vec<_> = entry.providers.iter().map(provider).collect();
    json!([entry.resources, providers])
}

fn provider(provider: &Provider) -> Value {
    let kms = provider.kms.as_ref().map(kms);
    let local: Vec<_> = provider.local.iter().map(local).collect();
    json!([kms, local, provider.identity])
}

fn kms(kms: &Kms) -> Value {
    // The default of kube-apiserver.
    let timeout = kms.timeout.as_ref().map_or(3000, |it| it.time.as_millis());
    json!([
        kms.api_version(),
        kms.name,
        kms.endpoint,
        timeout,
        kms.cache_size
    ])
}

/// How many keys, and not which.
fn local(local: &Local) -> Value {
    json!([local.kind, local.keys.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n\
        - resources: [secrets]\n  providers:\n  - kms: {apiVersion: v2, name: vault, endpoint: \"unix:///k\", timeout: 3s}\n  \
        - identity: {}\n";

    fn of(text: &str) -> String {
        fingerprint(text.as_bytes()).expect("accepted")
    }

    #[test]
    fn it_differs_with_what_kube_apiserver_does_and_only_with_that() {
        let own = of(FILE);
        for (from, to) in [
            ("timeout: 3s", "timeout: 3000ms"),
            ("[secrets]", "\n  # A comment.\n  - secrets"),
            (", timeout: 3s", ""),
        ] {
            assert_eq!(of(&FILE.replace(from, to)), own, "{to}");
        }
        let swapped = FILE
            .replace("  - identity: {}\n", "")
            .replace("  providers:\n", "  providers:\n  - identity: {}\n");
        let mut seen = vec![own];
        for other in [
            FILE.replace("name: vault", "name: other"),
            FILE.replace("unix:///k", "unix:///l"),
            FILE.replace("3s", "4s"),
            FILE.replace("[secrets]", "[secrets, configmaps]"),
            FILE.replace("  - identity: {}\n", ""),
            swapped,
        ] {
            let other = of(&other);
            assert!(!seen.contains(&other));
            seen.push(other);
        }
        assert!(fingerprint(b"kind: Secret").is_err());
    }
}
