//! What writes each resource of an accepted file, and whether it is encrypted.

use super::super::format::listed;
use super::coverage::{self, Rule};
use super::file::{File, Kms, Provider};
use super::finding::Finding;
use super::resource::GroupResource;
use crate::diagnosis::Diagnosis;

/// What is right while a second provider is added or removed on one node after the other.
const SECOND: &str = "this is the first step of adding it to several nodes, and of removing it";

/// The second one.
const NEXT: &str = "once every kube-apiserver has read this file, put the kms provider first";
/// What an earlier provider is for afterwards.
const KEEP: &str = "keep the other behind it until everything was re-encrypted";

/// Which providers lead to this plugin.
pub(super) struct Writers<'a> {
    rules: Vec<Rule<'a>>,
    ours: Vec<&'a Kms>,
}

impl<'a> Writers<'a> {
    /// Those of the file; `ours` are the providers that lead to this plugin.
    pub(super) fn new(file: &'a File, ours: Vec<&'a Kms>) -> Self {
        Self {
            rules: coverage::rules(file),
            ours,
        }
    }

    /// Who encrypts what, in one sentence; None if nothing is encrypted.
    pub(super) fn facts(&self) -> Option<String> {
        let mut facts = Vec::new();
        for (rule, names) in self.groups() {
            match rule.providers.first() {
                Some(writer) if !writer.identity => {
                    facts.push(format!("{} writes {names}", self.summary(writer)));
                }
                _ => {}
            }
        }
        if facts.is_empty() {
            return None;
        }
        let secrets = secrets();
        match coverage::rule_for(&self.rules, &secrets) {
            Some(rule) if rule.resource != secrets => {
                facts.push(format!("secrets are covered by {}", rule.resource));
            }
            _ => {}
        }
        if !self
            .rules
            .iter()
            .any(|rule| rule.resource == GroupResource::all())
        {
            facts.push("no other resource is encrypted".to_owned());
        }
        Some(facts.join("; "))
    }

    /// What an operator should know: what is not encrypted, or not by the provider that was meant.
    pub(super) fn warnings(&self) -> Vec<Finding> {
        let groups = self.groups().into_iter();
        let mut warnings: Vec<_> = groups
            .filter_map(|(rule, names)| self.of_group(rule, &names))
            .map(Finding::warning)
            .collect();
        warnings.extend(self.of_secrets().map(Finding::warning));
        warnings
    }

    /// The rules with the same providers, and what they are for.
    fn groups(&self) -> Vec<(&Rule<'a>, String)> {
        let mut groups: Vec<(&Rule<'a>, Vec<String>)> = Vec::new();
        for rule in &self.rules {
            let is_same = |one: &Rule<'a>| {
                let pairs = one.providers.iter().zip(&rule.providers);
                one.providers.len() == rule.providers.len()
                    && pairs
                        .into_iter()
                        .all(|(one, other)| std::ptr::eq(*one, *other))
            };
            match groups.iter_mut().find(|(one, _)| is_same(one)) {
                Some((_, names)) => names.push(rule.resource.to_string()),
                None => groups.push((rule, vec![rule.resource.to_string()])),
            }
        }
        let groups = groups.into_iter();
        groups.map(|(rule, names)| (rule, listed(&names))).collect()
    }

    fn is_ours(&self, provider: &Provider) -> bool {
        let kms = provider.kms.as_ref();
        kms.is_some_and(|kms| self.ours.iter().any(|ours| std::ptr::eq(*ours, kms)))
    }

    fn summary(&self, writer: &Provider) -> String {
        match &writer.kms {
            Some(kms) if self.is_ours(writer) => {
                let timeout = kms.timeout.as_ref().map_or("3s", |timeout| &timeout.text);
                let (name, version) = (&kms.name, kms.api_version());
                format!("provider {name:?} ({version}, timeout {timeout}) uses this plugin and")
            }
            _ => label(writer),
        }
    }

    fn of_group(&self, rule: &Rule<'_>, names: &str) -> Option<Diagnosis> {
        let (writer, readers) = rule.providers.split_first()?;
        let is_v1 = |one: &Provider| {
            one.kms
                .as_ref()
                .is_some_and(|kms| kms.api_version() == "v1")
        };
        if self.is_ours(writer) {
            // Of two that lead here the second one writes next only in a move from v1 to v2.
            let mut readers = readers.iter();
            let next = readers.find(|one| self.is_ours(one) && !is_v1(one))?;
            return is_v1(writer).then(|| move_to_v2(writer, next, names));
        }
        let reads = readers.iter().any(|reader| self.is_ours(reader));
        let (cause, remedy) = match (writer.identity, reads) {
            (true, true) => (
                format!(
                    "identity precedes the kms provider: {names} are written unencrypted; {SECOND}"
                ),
                format!("{NEXT}, and identity last"),
            ),
            (true, false) => (
                format!("identity is first: {names} are written unencrypted"),
                "put a provider that encrypts before it, unless that is intended".to_owned(),
            ),
            (false, true) => (
                format!(
                    "{} precedes the kms provider and writes {names}; this plugin only reads what it \
                     wrote before; {SECOND}",
                    label(writer)
                ),
                format!("{NEXT}, and {KEEP}"),
            ),
            (false, false) => return None,
        };
        Some(Diagnosis::new(cause).with_remedy(remedy))
    }

    fn of_secrets(&self) -> Option<Diagnosis> {
        let rule = coverage::rule_for(&self.rules, &secrets());
        let writer = rule.and_then(|rule| rule.providers.first());
        let reads = rule.is_some_and(|rule| rule.providers.iter().any(|one| self.is_ours(one)));
        if reads || (writer.is_some() && self.ours.is_empty()) {
            return None;
        }
        let subject = "secrets are not among the resources that this plugin encrypts";
        Some(match writer {
            Some(writer) if writer.identity => {
                Diagnosis::new(format!("{subject}: they are written unencrypted"))
            }
            Some(writer) => Diagnosis::new(format!("{subject}: {} writes them", label(writer))),
            None => {
                let text = format!("{subject}: they are written unencrypted");
                let text = Diagnosis::new(text);
                match self.misspelt() {
                    Some(name) => text.with_remedy(format!(
                        "write `secrets` instead of `{name}`, which is no resource"
                    )),
                    None => text,
                }
            }
        })
    }

    /// A name that was meant to be `secrets`.
    fn misspelt(&self) -> Option<&GroupResource> {
        let mut names = self.rules.iter().map(|rule| &rule.resource);
        names.find(|name| {
            let is_core = matches!(name.group.as_str(), "" | "v1" | "core");
            is_core && matches!(name.resource.as_str(), "secret" | "secrets")
        })
    }
}

fn secrets() -> GroupResource {
    GroupResource::parse("secrets")
}

fn move_to_v2(writer: &Provider, next: &Provider, names: &str) -> Diagnosis {
    let (writer, next) = (label(writer), label(next));
    let cause = format!(
        "{writer} precedes {next} and writes {names}: this is the first step of the move to v2"
    );
    let remedy =
        format!("once every kube-apiserver has read this file, put {next} first, and {KEEP}");
    Diagnosis::new(cause).with_remedy(remedy)
}

fn label(provider: &Provider) -> String {
    match &provider.kms {
        Some(kms) => format!("provider {:?} ({})", kms.name, kms.api_version()),
        None => provider.kind().to_owned(),
    }
}
