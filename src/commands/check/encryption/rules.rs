//! The rules by which kube-apiserver refuses a file that it can decode: apiserver's
//! `validation_encryption.go`, and what fails when it creates the providers.

mod keys;
mod kms;
mod resources;

use super::coverage;
use super::file::{File, Provider};
use super::refusal::Refusal;

/// All reasons to refuse the file. Such as depend on options of kube-apiserver are marked.
pub(super) fn refusals(file: &File) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if file.entries.is_empty() {
        refusals.push(Refusal::always(
            "it has no resources",
            "list the resources to encrypt, and their providers",
        ));
    }
    for (index, entry) in file.entries.iter().enumerate() {
        let path = format!("resources[{index}]");
        resources::check(&entry.resources, &path, &mut refusals);
        if entry.providers.is_empty() {
            refusals.push(Refusal::always(
                format!("{path} has no providers"),
                "add a provider, or remove that entry",
            ));
        }
        for (index, one) in entry.providers.iter().enumerate() {
            provider(one, &format!("{path}.providers[{index}]"), &mut refusals);
        }
    }
    kms::check(file, &mut refusals);
    for (resource, mask) in coverage::masks(file) {
        let remedy = if resource == mask {
            format!("remove one of the entries with {mask}")
        } else {
            // Before it, what the wildcard's providers wrote of it could no longer be read: a second entry
            // cannot have a KMS provider of the same name.
            format!(
                "remove the entry with {resource}; if nothing was written under {mask} yet, move it before that one"
            )
        };
        let cause = format!("{resource} comes after {mask}, which covers it");
        refusals.push(Refusal::always(cause, remedy));
    }
    let mut seen: Vec<Refusal> = Vec::new();
    refusals.retain(|one| {
        let is_new = !seen.contains(one);
        seen.push(one.clone());
        is_new
    });
    refusals
}

fn provider(provider: &Provider, path: &str, refusals: &mut Vec<Refusal>) {
    let count =
        usize::from(provider.kms.is_some()) + provider.local.len() + usize::from(provider.identity);
    if count == 0 {
        refusals.push(Refusal::always(
            format!("{path} names no provider, or one without a value"),
            "write `identity: {}` for no encryption, or remove that element",
        ));
    }
    if count > 1 {
        refusals.push(Refusal::always(
            format!("{path} names more than one provider"),
            "begin a new list element, with a dash, for each",
        ));
    }
    // Of several, the keys of one are looked at.
    if let (None, Some(local)) = (&provider.kms, provider.local.first()) {
        keys::check(local, path, refusals);
    }
}
