//! Resources as an EncryptionConfiguration names them.

use std::fmt;

/// `secrets`, `deployments.apps`, `*.apps`, `*.` or `*.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupResource {
    /// The API group; empty for the core group.
    pub(super) group: String,
    /// The resource, in the plural.
    pub(super) resource: String,
}

impl GroupResource {
    /// Parses a name: the group follows the first dot.
    pub(super) fn parse(text: &str) -> Self {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        Self {
            group: group.to_owned(),
            resource: resource.to_owned(),
        }
    }

    /// All resources of all groups.
    pub(super) fn all() -> Self {
        Self::parse("*.*")
    }

    /// All resources of the same group.
    pub(super) fn all_of_its_group(&self) -> Self {
        Self {
            group: self.group.clone(),
            resource: "*".to_owned(),
        }
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group.as_str() {
            "" if self.resource == "*" => f.write_str("*."),
            "" if self.resource.is_empty() => f.write_str("\"\""),
            "" => f.write_str(&self.resource),
            group => write!(f, "{}.{group}", self.resource),
        }
    }
}
