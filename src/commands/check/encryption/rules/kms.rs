//! KMS providers: names, versions, timeouts, endpoints, cache sizes.

use std::collections::HashSet;

use super::super::endpoint;
use super::super::file::{File, Kms};
use super::super::refusal::{Refusal, When};

/// What is done instead of changing an entry of KMS v1 in place: what it wrote is only found through it.
const MOVE: &str = "to move to v2, add a provider of another name with `apiVersion: v2` before it, and keep it \
    behind that one until everything was re-encrypted";
/// The same where the v2 provider is there.
const MOVING: &str =
    "keep it until everything was re-encrypted by a v2 provider before it, then remove it";
const NOT_WRITTEN_MOVING: &str = "if it has encrypted nothing yet, remove it; otherwise add `apiVersion: v1`, which \
    changes nothing, and keep it until everything was re-encrypted by the v2 provider";
/// What is done about an entry that only KMS v1 allowed.
const RESTORE: &str = "if this provider was v1 before, restore it as it was, and add one of another name with \
    `apiVersion: v2` before it";
const NOT_WRITTEN: &str = "if it has encrypted nothing yet, replace it by one with `apiVersion: v2`; otherwise add \
    `apiVersion: v1`, which changes nothing, and for v2 another provider of another name before it";

pub(super) fn check(file: &File, refusals: &mut Vec<Refusal>) {
    let mut names = HashSet::new();
    for entry in &file.entries {
        let all = || entry.providers.iter().filter_map(|one| one.kms.as_ref());
        let has_v2 = all().any(|kms| kms.api_version() == "v2");
        for kms in all() {
            name(kms, &names, refusals);
            names.insert(kms.name.as_str());
            version(kms, has_v2, refusals);
            timeout(kms, refusals);
            address(kms, refusals);
            cache_size(kms, refusals);
        }
    }
}

/// Each name of v2 is unique in the file, and without a colon.
fn name(kms: &Kms, earlier: &HashSet<&str>, refusals: &mut Vec<Refusal>) {
    let name = &kms.name;
    let is_v1 = kms.api_version() == "v1";
    if name.is_empty() {
        refusals.push(Refusal::always(
            "a kms provider has no name",
            "give it one and keep it: each object in etcd holds it",
        ));
        return;
    }
    if !is_v1 && name.contains(':') {
        refusals.push(Refusal::always(
            format!("the name {name:?} contains a colon, which KMS v2 forbids"),
            format!("remove the colon from the name; {RESTORE}"),
        ));
    }
    if earlier.contains(name.as_str()) {
        let when = if is_v1 { When::Reload } else { When::Always };
        let remedy = "put those resources under one provider, or give each a name and a plugin of its own; \
            the provider that has encrypted objects keeps its name";
        refusals.push(Refusal::new(
            when,
            format!("the name {name:?} is used twice"),
            remedy,
        ));
    }
}

fn version(kms: &Kms, is_beside_v2: bool, refusals: &mut Vec<Refusal>) {
    let name = &kms.name;
    match kms.api_version() {
        "v2" => {}
        "v1" => {
            let is_written = kms.api_version.is_some();
            let (is, remedy) = match (is_written, is_beside_v2) {
                (true, true) => ("is v1", MOVING),
                (true, false) => ("is v1", MOVE),
                (false, true) => ("has no apiVersion, which means v1", NOT_WRITTEN_MOVING),
                (false, false) => ("has no apiVersion, which means v1", NOT_WRITTEN),
            };
            let when = When::NoKmsV1 { is_written };
            refusals.push(Refusal::new(
                when,
                format!("provider {name:?} {is}"),
                remedy,
            ));
        }
        other => {
            let remedy = if other.starts_with("v1") {
                "write `apiVersion: v1` if it has encrypted objects, and `apiVersion: v2` otherwise"
            } else {
                "write `apiVersion: v2`"
            };
            let cause = format!("provider {name:?} has the unknown apiVersion {other:?}");
            refusals.push(Refusal::always(cause, remedy));
        }
    }
}

fn timeout(kms: &Kms, refusals: &mut Vec<Refusal>) {
    let name = &kms.name;
    if kms
        .timeout
        .as_ref()
        .is_some_and(|timeout| timeout.time.is_zero())
    {
        let cause = format!("the timeout of provider {name:?} is zero");
        refusals.push(Refusal::always(cause, "write `timeout: 3s`"));
    }
}

fn address(kms: &Kms, refusals: &mut Vec<Refusal>) {
    let Kms { name, endpoint, .. } = kms;
    if endpoint.is_empty() {
        let cause = format!("provider {name:?} has no endpoint");
        refusals.push(Refusal::always(cause, "write `endpoint: unix:///PATH`"));
    } else if let Some(problem) = endpoint::refusal(endpoint) {
        let cause = format!("the endpoint {endpoint} of provider {name:?} is invalid: {problem}");
        refusals.push(Refusal::always(cause, "write `endpoint: unix:///PATH`"));
    }
}

fn cache_size(kms: &Kms, refusals: &mut Vec<Refusal>) {
    let name = &kms.name;
    match (kms.api_version(), kms.cache_size) {
        (_, None) => {}
        ("v1", Some(0)) => refusals.push(Refusal::always(
            format!("the cachesize of provider {name:?} is zero"),
            "remove cachesize, or write a negative one to disable the cache",
        )),
        ("v1", Some(_)) => {}
        (_, Some(_)) => refusals.push(Refusal::always(
            format!("provider {name:?} has a cachesize, which KMS v2 forbids"),
            format!("remove cachesize; {RESTORE}"),
        )),
    }
}
