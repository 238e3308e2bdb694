//! The names of resources, and wildcards.

use super::super::refusal::Refusal;
use super::super::resource::GroupResource;

/// What is not stored as an object of its own.
const WITHOUT_API: [&str; 3] = [
    "apiserveripinfo",
    "serviceipallocations",
    "servicenodeportallocations",
];

pub(super) fn check(names: &[String], path: &str, refusals: &mut Vec<Refusal>) {
    if names.is_empty() {
        refusals.push(Refusal::always(
            format!("{path} names no resources"),
            "list the resources to encrypt, or remove that entry",
        ));
    }
    overlaps(names, path, refusals);
    for name in names {
        if let Some((problem, remedy)) = refusal(name) {
            refusals.push(Refusal::always(
                format!("{path}: {name:?} {problem}"),
                remedy,
            ));
        }
    }
}

fn refusal(name: &str) -> Option<(&'static str, String)> {
    let GroupResource { group, resource } = GroupResource::parse(name);
    Some(if name.to_lowercase() != name {
        (
            "has capital letters",
            format!("write `{}`", name.to_lowercase()),
        )
    } else if name == "*" {
        let remedy = "write `*.` for all resources of the core group, or `*.*` for all";
        ("is not a wildcard", remedy.to_owned())
    } else if WITHOUT_API.contains(&name) {
        ("has no REST API", "remove it from that list".to_owned())
    } else if group == "events.k8s.io" {
        ("is stored as `events`", "write `events`".to_owned())
    } else if group == "extensions" {
        let remedy = "write the group that has it now, such as apps or networking.k8s.io";
        ("is of a group that was removed", remedy.to_owned())
    } else if group == "*" && resource != "*" {
        (
            "names all groups",
            format!("write `{resource}` for the core group, or `{resource}.GROUP`"),
        )
    } else {
        return None;
    })
}

fn overlaps(names: &[String], path: &str, refusals: &mut Vec<Refusal>) {
    let all: Vec<_> = names
        .iter()
        .map(|name| GroupResource::parse(name))
        .collect();
    let mut pairs = all.iter().enumerate().flat_map(|(index, one)| {
        let others = all.iter().skip(index + 1);
        others.map(move |other| (one, other))
    });
    if let Some((one, _)) = pairs.clone().find(|(one, other)| one == other) {
        refusals.push(Refusal::always(
            format!("{path} names {one} twice"),
            "remove one of the two from that list",
        ));
    }
    let every = GroupResource::all();
    let is_overlap = |(one, other): &(&GroupResource, &GroupResource)| {
        let of_one_group =
            one.group == other.group && (one.resource == "*" || other.resource == "*");
        one != other && (**one == every || **other == every || of_one_group)
    };
    if let Some((one, other)) = pairs.find(is_overlap) {
        let (wide, narrow) = if one.resource == "*" && *other != every {
            (one, other)
        } else {
            (other, one)
        };
        refusals.push(Refusal::always(
            format!("{path} names {narrow} beside {wide}, which covers it"),
            format!("remove `{narrow}` from that list"),
        ));
    }
}
