//! Which object a key of etcd is of.

use std::fmt;

/// A resource of the Kubernetes API, as kubectl and an EncryptionConfiguration name it: `secrets`,
/// `widgets.example.org`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// The API group, where the key shows it: custom resources, and those of the API machinery. Empty otherwise,
    /// also for built-in groups.
    pub group: String,
    /// The plural name as it is in the key, with `/` in it for services and their endpoints.
    pub name: String,
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

/// Stored below another name than that of the API (`pkg/registry/core/rest/storage_core.go`,
/// `pkg/registry/networking/ingress/storage`): the directory, the resource and its group.
const RENAMED: [(&str, &str, &str); 4] = [
    ("minions", "nodes", ""),
    ("services/specs", "services", ""),
    ("services/endpoints", "endpoints", ""),
    ("ingress", "ingresses", "networking.k8s.io"),
];

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
    /// A resource of the core group, or of a built-in group, by the name of its directory.
    #[must_use]
    pub fn built_in(name: &str) -> Self {
        Self {
            group: String::new(),
            name: name.to_owned(),
        }
    }

    /// Splits what follows the prefix into the resource and the rest. A group has a dot, which no resource has.
    fn split(path: &str) -> Option<(Self, &str)> {
        let (first, rest) = path.split_once('/')?;
        let (second, below) = rest.split_once('/').unwrap_or((rest, ""));
        if first.contains('.') {
            let resource = Self {
                group: first.to_owned(),
                name: second.to_owned(),
            };
            return (!below.is_empty()).then_some((resource, below));
        }
        if first == "services" && matches!(second, "specs" | "endpoints") {
            return Some((Self::built_in(&format!("{first}/{second}")), below));
        }
        Some((Self::built_in(first), rest))
    }

    /// The directory below the prefix that its objects are in.
    #[must_use]
    pub fn directory(&self) -> String {
        match self.group.as_str() {
            "" => self.name.clone(),
            group => format!("{group}/{}", self.name),
        }
    }

    /// The directories below the prefix in which the objects of a resource of the API may be: kube-apiserver stores
    /// custom resources below their group, built-in ones without it, and a few by an older name.
    #[must_use]
    pub fn candidates(group: &str, resource: &str) -> Vec<Self> {
        let renamed = RENAMED
            .iter()
            .filter(|(_, name, of)| *name == resource && *of == group);
        let mut all: Vec<_> = renamed
            .map(|(directory, ..)| Self::built_in(directory))
            .collect();
        // Groups of Kubernetes itself: `apps`, `networking.k8s.io`. The latter ending others use too.
        let may_be_built_in = !group.contains('.') || group.ends_with(".k8s.io");
        if all.is_empty() && may_be_built_in {
            all.push(Self::built_in(resource));
        }
        if group.contains('.') {
            all.push(Self {
                group: group.to_owned(),
                name: resource.to_owned(),
            });
        }
        all
    }

    /// The name in the API, which is that of the directory but for a few.
    fn api_name(&self) -> &str {
        let renamed = RENAMED
            .iter()
            .find(|(directory, ..)| self.group.is_empty() && *directory == self.name);
        renamed.map_or(&self.name, |(_, name, _)| name)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group.as_str() {
            "" => f.write_str(self.api_name()),
            group => write!(f, "{}.{group}", self.api_name()),
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
            ("/registry/ingress/default/web", "ingresses default/web"),
            (
                "/registry/example.org/widgets/default/w",
                "widgets.example.org default/w",
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
            all.iter().map(Resource::directory).collect()
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
