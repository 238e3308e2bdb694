//! Which parts of the configuration changed between two reads of it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use toml::{Table, Value};

/// A hash of each table. It shows that a table has changed but not how, so it holds no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<String, u64>);

impl Fingerprint {
    /// The fingerprint of the file with the environment applied.
    pub(super) fn of(table: &Table) -> Self {
        let hash = |(name, value): (&String, &Value)| {
            let mut hasher = DefaultHasher::new();
            value.to_string().hash(&mut hasher);
            (name.clone(), hasher.finish())
        };
        Self(table.iter().map(hash).collect())
    }

    /// Whether a table differs in `other`.
    #[must_use]
    pub fn differs(&self, other: &Self, table: &str) -> bool {
        self.0.get(table) != other.0.get(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let of = |text: &str| Fingerprint::of(&text.parse().expect("TOML"));
        let one = of("[vault]\naddress = \"a\"\nnamespace = \"b\"\n[log]\nlevel = \"info\"");
        let two = of("[log]\nlevel = \"warn\"\n[vault]\nnamespace = \"b\"\naddress = \"a\"");
        assert!(!one.differs(&two, "vault"));
        assert!(one.differs(&two, "log"));
        assert!(one.differs(&of(""), "vault"));
        assert!(!one.differs(&two, "auth"));
    }
}
