//! Which provider writes a resource: the first of the first entry that covers it. A name is looked
//! up as it is, then as `*.` with its group, then as `*.*`; entries of one name are joined.

use super::file::{File, Provider};
use super::resource::GroupResource;

/// A resource or a wildcard of the file, and its providers in their order: the first writes.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    /// What it is for.
    pub(super) resource: GroupResource,
    /// Never empty in a file that kube-apiserver accepts.
    pub(super) providers: Vec<&'a Provider>,
}

/// All rules of a file, in the order of their first entries.
pub(super) fn rules(file: &File) -> Vec<Rule<'_>> {
    let mut rules: Vec<Rule<'_>> = Vec::new();
    for entry in &file.entries {
        for name in &entry.resources {
            let resource = GroupResource::parse(name);
            match rules.iter_mut().find(|rule| rule.resource == resource) {
                Some(rule) => rule.providers.extend(&entry.providers),
                None => rules.push(Rule {
                    resource,
                    providers: entry.providers.iter().collect(),
                }),
            }
        }
    }
    rules
}

/// The rule for a resource; without one it is written unencrypted.
pub(super) fn rule_for<'a, 'b>(
    rules: &'b [Rule<'a>],
    resource: &GroupResource,
) -> Option<&'b Rule<'a>> {
    let names = [
        resource.clone(),
        resource.all_of_its_group(),
        GroupResource::all(),
    ];
    names
        .iter()
        .find_map(|name| rules.iter().find(|rule| rule.resource == *name))
}

/// An earlier rule that covers everything that a later one is for: kube-apiserver refuses the later
/// one.
pub(super) fn masks(file: &File) -> Vec<(GroupResource, GroupResource)> {
    let mut seen: Vec<GroupResource> = Vec::new();
    let mut masked = Vec::new();
    for name in file.entries.iter().flat_map(|entry| &entry.resources) {
        let resource = GroupResource::parse(name);
        let wildcards = [resource.all_of_its_group(), GroupResource::all()];
        if let Some(mask) = wildcards.into_iter().find(|mask| seen.contains(mask)) {
            masked.push((resource.clone(), mask));
        }
        seen.push(resource);
    }
    masked
}
