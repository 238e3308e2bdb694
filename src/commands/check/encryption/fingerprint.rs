//! The fingerprint of an EncryptionConfiguration: the same if kube-apiserver does the same, however the
//! file is written.

use std::fmt::{Debug, Write};
use std::time::Duration;

use super::file::File;
use super::{decode, rules};
use crate::sha256::short_hash;

/// kube-apiserver's own.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);

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
    Ok(short_hash(lines(&file).as_bytes()))
}

/// A line for each entry and provider; none of them can hold a line's end.
fn lines(file: &File) -> String {
    let mut lines = String::new();
    let mut add = |kind: &str, value: &dyn Debug| {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{kind} {value:?}");
    };
    for entry in &file.entries {
        add("resources", &entry.resources);
        for provider in &entry.providers {
            add("provider", &provider.kind());
            if let Some(kms) = &provider.kms {
                let timeout = kms.timeout.as_ref();
                let timeout = timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.time);
                add("api_version", &kms.api_version());
                add("name", &kms.name);
                add("endpoint", &kms.endpoint);
                add("timeout", &timeout);
                add("cache_size", &kms.cache_size);
            }
            for local in &provider.local {
                // How many keys, and not which.
                add("keys", &local.keys.len());
            }
        }
    }
    lines
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
