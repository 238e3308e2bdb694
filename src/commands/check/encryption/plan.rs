//! What a file has kube-apiserver do with each resource, for `vault-kmsctl`.

use std::path::Path;

use super::coverage;
use super::decode;
use super::file::{File, Kms, Provider};
use super::ours;
use super::providers::{self, NamedProvider};
use super::resource::GroupResource;
use super::rules;
use crate::diagnosis::Diagnosis;
use crate::grpc::SocketPath;

/// What writes a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Nothing encrypts it, and nothing did: `identity` is the only provider.
    Excluded,
    /// `identity` is first, and other providers read what they wrote: a write decrypts.
    Plaintext,
    /// A KMS plugin.
    Kms(KmsProvider),
    /// A key of the file itself: `aescbc`, `aesgcm` or `secretbox`.
    Local(&'static str),
}

/// A KMS provider of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KmsProvider {
    /// Its name, which each object in etcd carries.
    pub(crate) name: String,
    /// Whether it is KMS v2, which has a key_id.
    pub(crate) is_v2: bool,
}

/// One resource or wildcard of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanRule {
    /// The API group; empty for the core group, `*` for all.
    pub(crate) group: String,
    /// The plural name, or `*`.
    pub(crate) resource: String,
    /// The first of its providers.
    pub(crate) writer: Writer,
}

/// What writes what.
#[derive(Debug)]
pub(crate) struct Plan {
    file: File,
}

impl Plan {
    /// Reads a file that kube-apiserver accepts.
    ///
    /// # Errors
    /// Why it cannot be read, or kube-apiserver refuses it, once for each reason.
    pub(crate) fn read(path: &Path) -> Result<Self, Vec<Diagnosis>> {
        let shown = path.display().to_string();
        let text = std::fs::read(path).map_err(|error| {
            let cause = format!("{shown}: cannot be read: {error}");
            let remedy = "name the file of kube-apiserver's --encryption-provider-config by its path on this host";
            vec![Diagnosis::new(cause).with_remedy(remedy)]
        })?;
        Self::parse(&text).map_err(|all| all.into_iter().map(|one| one.about(&shown)).collect())
    }

    /// The same of a text.
    ///
    /// # Errors
    /// Why kube-apiserver refuses it.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Vec<Diagnosis>> {
        let problems = |all: Vec<super::Refusal>| all.into_iter().map(|one| one.problem).collect();
        let (file, mut refusals) = decode::decode(text).map_err(problems)?;
        refusals.extend(rules::refusals(&file));
        refusals.retain(|one| one.when.is_certain());
        if refusals.is_empty() {
            Ok(Self { file })
        } else {
            Err(problems(refusals))
        }
    }

    /// The resources and wildcards of the file, in its order.
    pub(crate) fn rules(&self) -> Vec<PlanRule> {
        let rules = coverage::rules(&self.file).into_iter();
        rules
            .map(|rule| PlanRule {
                writer: writer(&rule.providers),
                group: rule.resource.group,
                resource: rule.resource.resource,
            })
            .collect()
    }

    /// What writes this resource; `None` if the file does not mention it, so that it is not encrypted.
    pub(crate) fn writer_of(&self, group: &str, resource: &str) -> Option<Writer> {
        let rules = coverage::rules(&self.file);
        let resource = GroupResource {
            group: group.to_owned(),
            resource: resource.to_owned(),
        };
        coverage::rule_for(&rules, &resource).map(|rule| writer(&rule.providers))
    }

    /// The providers of a resource, of which the first writes. `None` if the file does not mention it: it is neither
    /// encrypted nor decrypted.
    pub(crate) fn providers_of(&self, group: &str, resource: &str) -> Option<Vec<NamedProvider>> {
        let rules = coverage::rules(&self.file);
        let resource = GroupResource {
            group: group.to_owned(),
            resource: resource.to_owned(),
        };
        let rule = coverage::rule_for(&rules, &resource)?;
        Some(
            rule.providers
                .iter()
                .copied()
                .flat_map(providers::names)
                .collect(),
        )
    }

    /// The KMS providers that lead to this socket, each once.
    pub(crate) fn providers_at(&self, socket: &SocketPath) -> Vec<KmsProvider> {
        let all = ours::ours(&self.file, None, socket).into_iter();
        distinct(all.map(kms_provider))
    }

    /// All KMS providers, each once.
    pub(crate) fn kms_providers(&self) -> Vec<KmsProvider> {
        distinct(ours::providers(&self.file).map(kms_provider))
    }
}

fn writer(providers: &[&Provider]) -> Writer {
    match providers.split_first() {
        Some((first, _)) if first.kms.is_some() => match &first.kms {
            Some(kms) => Writer::Kms(kms_provider(kms)),
            None => Writer::Excluded,
        },
        Some((first, rest)) if first.identity => {
            if rest.iter().all(|one| one.identity) {
                Writer::Excluded
            } else {
                Writer::Plaintext
            }
        }
        Some((first, _)) => Writer::Local(first.kind()),
        None => Writer::Excluded,
    }
}

fn kms_provider(kms: &Kms) -> KmsProvider {
    KmsProvider {
        name: kms.name.clone(),
        is_v2: kms.api_version() == "v2",
    }
}

fn distinct(all: impl Iterator<Item = KmsProvider>) -> Vec<KmsProvider> {
    let mut found: Vec<KmsProvider> = Vec::new();
    for one in all {
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n\
        - resources: [events]\n  providers:\n  - identity: {}\n\
        - resources: [configmaps]\n  providers:\n  - identity: {}\n  - kms: {apiVersion: v2, name: b, endpoint: 'unix:///b.sock'}\n\
        - resources: ['*.*']\n  providers:\n  - kms: {apiVersion: v2, name: a, endpoint: 'unix:///a.sock'}\n  - identity: {}\n";

    #[test]
    fn the_first_provider_of_the_closest_rule_writes() {
        let plan = Plan::parse(FILE.as_bytes()).expect("valid");
        let kms = |name: &str| {
            Writer::Kms(KmsProvider {
                name: name.to_owned(),
                is_v2: true,
            })
        };
        assert_eq!(plan.writer_of("", "secrets"), Some(kms("a")));
        assert_eq!(plan.writer_of("example.org", "widgets"), Some(kms("a")));
        assert_eq!(plan.writer_of("", "events"), Some(Writer::Excluded));
        assert_eq!(plan.writer_of("", "configmaps"), Some(Writer::Plaintext));
        assert_eq!(plan.kms_providers().len(), 2);
    }

    #[test]
    fn a_file_that_kube_apiserver_refuses_is_refused() {
        let error = Plan::parse(b"kind: Secret").expect_err("another kind");
        assert!(error[0].to_string().contains("EncryptionConfiguration"));
    }
}
