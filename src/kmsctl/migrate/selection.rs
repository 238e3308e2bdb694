//! Which objects are written: all, or those that an audit of etcd found stale.

use std::collections::HashSet;

use crate::etcd::object_name::{ObjectName, Resource};

/// Which objects are written.
#[derive(Debug, Default)]
pub enum Selection {
    /// All of the resources: kube-apiserver leaves out those that are up to date.
    #[default]
    All,
    /// These alone.
    Only(StaleObjects),
}

/// Objects whose stored form is out of date, by their names in etcd.
#[derive(Debug, Default)]
pub struct StaleObjects(HashSet<ObjectName>);

impl FromIterator<ObjectName> for StaleObjects {
    fn from_iter<I: IntoIterator<Item = ObjectName>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl Selection {
    /// How many objects of a resource of the API are selected; `None` if all are.
    #[must_use]
    pub fn count(&self, group: &str, resource: &str) -> Option<usize> {
        let Self::Only(StaleObjects(names)) = self else {
            return None;
        };
        let directories = Resource::candidates(group, resource);
        let is_of = |name: &&ObjectName| directories.contains(&name.resource);
        Some(names.iter().filter(is_of).count())
    }

    /// Whether an object of a resource of the API is selected. `directories` are its
    /// [`Resource::candidates`].
    #[must_use]
    pub fn contains(&self, directories: &[Resource], namespace: &str, name: &str) -> bool {
        let Self::Only(StaleObjects(names)) = self else {
            return true;
        };
        directories.iter().any(|resource| {
            names.contains(&ObjectName {
                resource: resource.clone(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_objects_are_found_by_the_names_of_the_api() {
        let keys = [
            "/registry/minions/node-1",
            "/registry/example.org/widgets/default/w",
            "/registry/deployments/default/d",
        ];
        let names = keys.map(|key| ObjectName::parse(key.as_bytes(), "/registry").expect("a name"));
        let selection = Selection::Only(names.into_iter().collect());
        let is_in = |group: &str, resource: &str, namespace: &str, name: &str| {
            selection.contains(&Resource::candidates(group, resource), namespace, name)
        };
        assert!(is_in("", "nodes", "", "node-1"));
        assert!(is_in("example.org", "widgets", "default", "w"));
        assert!(is_in("apps", "deployments", "default", "d"));
        assert!(!is_in("apps", "deployments", "default", "e"));
        assert_eq!(selection.count("apps", "deployments"), Some(1));
        assert_eq!(selection.count("", "secrets"), Some(0));
        assert_eq!(Selection::All.count("", "secrets"), None);
        assert!(Selection::All.contains(&[], "a", "b"));
    }
}
