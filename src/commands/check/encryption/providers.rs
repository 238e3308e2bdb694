//! The providers of each resource by their names, for those who compare a file with what etcd holds.

use super::coverage::{self, Rule};
use super::file::File;
use super::resource::GroupResource;
use super::{decode, rules};
use crate::diagnosis::Diagnosis;

/// A provider, as stored values name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamedProvider {
    /// No encryption.
    Identity,
    /// Keys of the file itself, of which the first writes.
    Local {
        /// `aescbc`, `aesgcm` or `secretbox`.
        kind: &'static str,
        /// Their names.
        key_names: Vec<String>,
    },
    /// A KMS plugin.
    Kms {
        /// `v1` or `v2`.
        version: String,
        /// The name of the provider.
        name: String,
    },
}

/// The providers of each resource that a file names.
#[derive(Debug)]
pub(crate) struct ProviderTable {
    rules: Vec<(GroupResource, Vec<NamedProvider>)>,
}

impl ProviderTable {
    /// Reads a file, as kube-apiserver would accept it.
    ///
    /// # Errors
    /// The first reason for which kube-apiserver would refuse it.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Diagnosis> {
        let (file, mut refusals) = match decode::decode(text) {
            Ok(decoded) => decoded,
            Err(refusals) => (File::default(), refusals),
        };
        refusals.extend(rules::refusals(&file));
        let certain = refusals.into_iter().find(|one| one.when.is_certain());
        if let Some(refusal) = certain {
            return Err(refusal.problem);
        }
        let named = |rule: Rule<'_>| {
            let providers = rule.providers.iter().flat_map(|one| names(one));
            (rule.resource, providers.collect())
        };
        let rules = coverage::rules(&file).into_iter().map(named).collect();
        Ok(Self { rules })
    }

    /// The providers of a resource, of which the first writes. `None` if the file does not name it: it is not encrypted.
    pub(crate) fn of(&self, group: &str, resource: &str) -> Option<&[NamedProvider]> {
        let exact = GroupResource {
            group: group.to_owned(),
            resource: resource.to_owned(),
        };
        let wildcards = [exact.all_of_its_group(), GroupResource::all()];
        let names = [&exact, &wildcards[0], &wildcards[1]];
        let rule = names
            .into_iter()
            .find_map(|name| self.rules.iter().find(|(of, _)| of == name));
        rule.map(|(_, providers)| providers.as_slice())
    }
}

fn names(provider: &super::file::Provider) -> Vec<NamedProvider> {
    let kms = provider.kms.iter().map(|kms| NamedProvider::Kms {
        version: kms.api_version().to_owned(),
        name: kms.name.clone(),
    });
    let local = provider.local.iter().map(|local| NamedProvider::Local {
        kind: local.kind,
        key_names: local.keys.iter().map(|key| key.name.clone()).collect(),
    });
    let identity = provider.identity.then_some(NamedProvider::Identity);
    kms.chain(local).chain(identity).collect()
}
