//! Which resources are written: those of the EncryptionConfiguration, as far as the cluster serves them.

use super::args::MigrateOptions;
use super::discovery::Served;
use crate::commands::check::{Plan, Writer};
use crate::diagnosis::Diagnosis;

/// What is written, and what an operator has to know about the rest.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// Each with what writes it.
    pub(super) resources: Vec<(Served, Writer)>,
    /// Sentences for stderr.
    pub(super) notes: Vec<String>,
}

/// Two names of one resource in etcd: `events` of both groups are the same objects.
const SECOND_NAMES: [(&str, &str); 1] = [("events.k8s.io", "events")];

/// Finds them.
///
/// # Errors
/// If there are none, or a write would decrypt.
pub(super) fn find(
    plan: &Plan,
    served: &[Served],
    foreign: &[String],
    options: &MigrateOptions,
) -> Result<Targets, Diagnosis> {
    let mut targets = Targets::default();
    let is_asked_for = |one: &Served| {
        let wanted = &options.resources;
        wanted.is_empty() || wanted.iter().any(|name| *name == one.to_string())
    };
    for one in served.iter().filter(|one| is_asked_for(one)) {
        let name = (one.group.as_str(), one.resource.as_str());
        if foreign.contains(&one.group) || SECOND_NAMES.contains(&name) {
            continue;
        }
        match plan.writer_of(&one.group, &one.resource) {
            None | Some(Writer::Excluded) => {}
            Some(writer) => targets.resources.push((one.clone(), writer)),
        }
    }
    refuse_decryption(&mut targets, options)?;
    let missing = missing(plan, &targets, served, options);
    targets.notes.extend(missing?);
    if targets.resources.is_empty() {
        let cause = "the EncryptionConfiguration encrypts no resource that the cluster serves";
        let remedy = "name the file of this cluster's kube-apiserver";
        return Err(Diagnosis::new(cause).with_remedy(remedy));
    }
    Ok(targets)
}

/// Writes that decrypt need a word of the operator.
fn refuse_decryption(targets: &mut Targets, options: &MigrateOptions) -> Result<(), Diagnosis> {
    let decrypted = targets.resources.iter();
    let decrypted = decrypted.filter(|(_, writer)| *writer == Writer::Plaintext);
    let names: Vec<_> = decrypted.map(|(served, _)| served.to_string()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let names = names.join(", ");
    if options.allow_decrypt {
        let note = format!(
            "WARNING: identity is first for {names}: they are DECRYPTED, as --allow-decrypt allows"
        );
        targets.notes.push(note);
        return Ok(());
    }
    let cause =
        format!("identity is the first provider of {names}: migrate would decrypt them in etcd");
    let remedy = "put the provider that encrypts first, on every kube-apiserver; leave them out with --resource; or \
                  give --allow-decrypt if encryption is being disabled";
    Err(Diagnosis::new(cause).with_remedy(remedy))
}

/// Names of the file and of the command line that lead to nothing.
fn missing(
    plan: &Plan,
    targets: &Targets,
    served: &[Served],
    options: &MigrateOptions,
) -> Result<Vec<String>, Diagnosis> {
    for name in &options.resources {
        let is_target = targets
            .resources
            .iter()
            .any(|(one, _)| one.to_string() == *name);
        if !is_target {
            let cause = if served.iter().any(|one| one.to_string() == *name) {
                format!("--resource {name}: the EncryptionConfiguration does not encrypt it")
            } else {
                format!("--resource {name}: the cluster does not serve it")
            };
            let remedy =
                "write it as the EncryptionConfiguration does: `secrets`, `widgets.example.org`";
            return Err(Diagnosis::new(cause).with_remedy(remedy));
        }
    }
    let rules = plan.rules().into_iter();
    let named = rules.filter(|rule| rule.resource != "*" && options.resources.is_empty());
    let absent = named.filter(|rule| {
        let is_it = |one: &Served| one.group == rule.group && one.resource == rule.resource;
        !served.iter().any(is_it)
    });
    let note = |group: &str, resource: &str| {
        let dot = if group.is_empty() { "" } else { "." };
        format!(
            "the cluster does not serve {resource}{dot}{group}, which the EncryptionConfiguration names"
        )
    };
    Ok(absent
        .map(|rule| note(&rule.group, &rule.resource))
        .collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Options {
        #[command(flatten)]
        options: MigrateOptions,
    }

    fn served(text: &[&str]) -> Vec<Served> {
        let one = |name: &&str| {
            let (resource, group) = name.split_once('.').unwrap_or((name, ""));
            Served {
                group: group.to_owned(),
                version: "v1".to_owned(),
                resource: resource.to_owned(),
                is_namespaced: true,
            }
        };
        text.iter().map(one).collect()
    }

    fn found(rules: &str, arguments: &[&str]) -> Result<Vec<String>, String> {
        let kms = "kms: {apiVersion: v2, name: a, endpoint: 'unix:///a.sock'}";
        let rules = rules.replace("KMS", kms);
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n{rules}"
        );
        let plan = Plan::parse(text.as_bytes()).expect("valid");
        let all = served(&[
            "secrets",
            "configmaps",
            "events",
            "events.events.k8s.io",
            "widgets.example.org",
            "pods.metrics.k8s.io",
        ]);
        let arguments = ["migrate"].iter().chain(arguments);
        let options = Options::try_parse_from(arguments).expect("valid").options;
        let targets = find(&plan, &all, &["metrics.k8s.io".to_owned()], &options);
        let names = |targets: Targets| {
            let all = targets.resources.into_iter();
            all.map(|(one, _)| one.to_string()).collect()
        };
        targets.map(names).map_err(|error| error.to_string())
    }

    #[test]
    fn wildcards_cover_what_is_served_and_stored_by_kube_apiserver() {
        let all = "- resources: ['*.*']\n  providers: [{KMS}]\n";
        let names = found(all, &[]).expect("targets");
        assert_eq!(
            names,
            ["secrets", "configmaps", "events", "widgets.example.org"]
        );
        let core = "- resources: ['*.']\n  providers: [{KMS}]\n";
        assert_eq!(
            found(core, &[]).expect("targets"),
            ["secrets", "configmaps", "events"]
        );
        let excluded = format!("- resources: [events]\n  providers: [{{identity: {{}}}}]\n{all}");
        assert!(
            !found(&excluded, &[])
                .expect("targets")
                .contains(&"events".to_owned())
        );
        assert_eq!(
            found(all, &["--resource", "secrets"]).expect("targets"),
            ["secrets"]
        );
        let error = found(core, &["--resource", "widgets.example.org"]).expect_err("not encrypted");
        assert!(error.contains("does not encrypt it"), "{error}");
    }

    #[test]
    fn nothing_is_decrypted_unless_that_is_allowed() {
        let rules = "- resources: [configmaps]\n  providers: [{KMS}]\n\
                     - resources: [secrets]\n  providers: [{identity: {}}, {aescbc: {keys: [{name: k, secret: AAAAAAAAAAAAAAAAAAAAAA==}]}}]\n";
        let error = found(rules, &[]).expect_err("decrypts");
        assert!(
            error.contains("would decrypt") && error.contains("--allow-decrypt"),
            "{error}"
        );
        assert_eq!(
            found(rules, &["--resource", "configmaps"]).expect("targets"),
            ["configmaps"]
        );
        assert_eq!(
            found(rules, &["--allow-decrypt"]).expect("targets").len(),
            2
        );
    }
}
