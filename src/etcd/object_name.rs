//! Which object a key of etcd is of.

mod built_in;

use std::fmt;

/// A resource of the Kubernetes API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// The API group; empty for the core group, and for a built-in resource that this version does not know.
    pub group: String,
    /// The plural name in the API.
    pub name: String,
    /// The directory below the prefix that its objects are in.
    pub directory: String,
}

/// The object of a key of etcd.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Its resource.
    pub resource: Resource,
    /// Its namespace; empty if it has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectName {
    /// Reads a key below the prefix of kube-apiserver (`--etcd-prefix`), such as `/registry`.
    ///
    /// `None` if the key is not of an object: outside the prefix, not UTF-8, or of kube-apiserver's own book-keeping.
    #[must_use]
    pub fn parse(key: &[u8], prefix: &str) -> Option<Self> {
        let key = std::str::from_utf8(key).ok()?;
        let rest = key.strip_prefix(prefix.trim_end_matches('/'))?;
        let rest = rest.strip_prefix('/')?;
        let (resource, rest) = Resource::split(rest)?;
        let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
        if name.is_empty() {
            return None;
        }
        Some(Self {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl Resource {
    /// The resource of a directory below the prefix. kube-apiserver stores custom resources below their group, which
    /// has a dot, built-in ones without it, and a few by an older name.
    #[must_use]
    pub fn of_directory(directory: &str) -> Self {
        let (group, name) = match directory.split_once('/') {
            Some((group, name)) if group.contains('.') => (group, name),
            _ => built_in::of_directory(directory),
        };
        Self {
            group: group.to_owned(),
            name: name.to_owned(),
            directory: directory.to_owned(),
        }
    }

    /// The directories in which the objects of a resource of the API may be, as their resources.
    #[must_use]
    pub fn candidates(group: &str, name: &str) -> Vec<Self> {
        if let Some(directory) = built_in::another_name(group, name) {
            return vec![Self::of_directory(directory)];
        }
        let mut all = Vec::new();
        // Groups of Kubernetes itself: `apps`, `networking.k8s.io`. The latter ending others use too.
        if !group.contains('.') || group.ends_with(".k8s.io") {
            all.push(Self::of_directory(name));
        }
        if group.contains('.') {
            all.push(Self::of_directory(&format!("{group}/{name}")));
        }
        all
    }

    /// Splits what follows the prefix into the resource and the rest.
    fn split(path: &str) -> Option<(Self, &str)> {
        let (first, rest) = path.split_once('/')?;
        let (second, below) = rest.split_once('/').unwrap_or((rest, ""));
        let is_longer =
            first.contains('.') || (first == "services" && matches!(second, "specs" | "endpoints"));
        if !is_longer {
            return Some((Self::of_directory(first), rest));
        }
        let directory = format!("{first}/{second}");
        (!below.is_empty()).then(|| (Self::of_directory(&directory), below))
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group.as_str() {
            "" => f.write_str(&self.name),
            group => write!(f, "{}.{group}", self.name),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.resource, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.resource, self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: &str) -> Option<String> {
        ObjectName::parse(key.as_bytes(), "/registry").map(|name| name.to_string())
    }

    #[test]
    fn a_key_names_its_object() {
        let cases = [
            ("/registry/secrets/default/proof", "secrets default/proof"),
            ("/registry/namespaces/default", "namespaces default"),
            ("/registry/minions/node-1", "nodes node-1"),
            (
                "/registry/services/specs/default/kubernetes",
                "services default/kubernetes",
            ),
            (
                "/registry/services/endpoints/default/kubernetes",
                "endpoints default/kubernetes",
            ),
            (
                "/registry/ingress/default/web",
                "ingresses.networking.k8s.io default/web",
            ),
            (
                "/registry/example.org/widgets/default/w",
                "widgets.example.org default/w",
            ),
            (
                "/registry/deployments/default/d",
                "deployments.apps default/d",
            ),
            ("/registry/example.org/gadgets/g", "gadgets.example.org g"),
            (
                "/registry/apiregistration.k8s.io/apiservices/v1.apps",
                "apiservices.apiregistration.k8s.io v1.apps",
            ),
        ];
        for (key, expected) in cases {
            assert_eq!(shown(key).as_deref(), Some(expected), "{key}");
        }
        for foreign in [
            "/other/secrets/a/b",
            "/registry",
            "/registry/",
            "compact_rev_key",
            "/registryx/secrets/a/b",
        ] {
            assert_eq!(shown(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_resource_of_the_api_is_looked_for_where_it_may_be() {
        let directories = |group, name| -> Vec<String> {
            let all = Resource::candidates(group, name);
            all.into_iter().map(|one| one.directory).collect()
        };
        assert_eq!(directories("", "secrets"), ["secrets"]);
        assert_eq!(directories("", "nodes"), ["minions"]);
        assert_eq!(directories("apps", "deployments"), ["deployments"]);
        assert_eq!(
            directories("example.org", "widgets"),
            ["example.org/widgets"]
        );
        assert_eq!(
            directories("apiregistration.k8s.io", "apiservices"),
            ["apiservices", "apiregistration.k8s.io/apiservices"]
        );
    }
}
