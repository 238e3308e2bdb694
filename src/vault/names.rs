//! The names that identify a Transit key: namespace, mount, key and version.

use std::fmt;

use thiserror::Error;

use crate::diagnosis::Diagnosis;

/// Why a text is not a valid name.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{what} {text:?}: {cause}")]
pub struct InvalidName {
    what: &'static str,
    text: String,
    cause: &'static str,
}

/// A namespace, without slashes at its ends; empty for the root namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Namespace(String);

/// The path at which an engine is mounted, without slashes at its ends; may contain some inside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MountPath(String);

/// The name of a Transit key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyName(String);

/// The version of a Transit key, from 1 up.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "u32")]
pub struct KeyVersion(u32);

/// One Transit key, with its mount and namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TransitKey {
    /// The namespace that holds the mount.
    pub namespace: Namespace,
    /// The mount of the Transit engine.
    pub mount: MountPath,
    /// The key's name.
    pub name: KeyName,
}

impl From<InvalidName> for Diagnosis {
    fn from(error: InvalidName) -> Self {
        Self::new(error.to_string())
    }
}

impl TryFrom<u32> for KeyVersion {
    type Error = &'static str;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        Self::try_new(number).ok_or("there is no version 0")
    }
}

impl Namespace {
    /// Parses a namespace as users write it: slashes at the ends are dropped, and `root` is the
    /// root namespace (OpenBao's `namespace_store.go`).
    ///
    /// # Errors
    /// If a segment of the path is empty or contains an invalid character.
    pub fn try_new(text: &str) -> Result<Self, InvalidName> {
        match text.trim_matches('/') {
            "" | "root" => Ok(Self::default()),
            path => checked_path("namespace", path).map(Self),
        }
    }

    /// The path; empty for the root namespace.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path from a namespace above to this one; `None` if the other one is not above it.
    #[must_use]
    pub fn below(&self, above: &Self) -> Option<&str> {
        if above.0.is_empty() {
            return Some(self.0.as_str()).filter(|path| !path.is_empty());
        }
        self.0.strip_prefix(&above.0)?.strip_prefix('/')
    }
}

impl MountPath {
    /// Parses a mount path as users write it; slashes at the ends are dropped.
    ///
    /// # Errors
    /// If it is empty, or a segment of it is empty or contains an invalid character.
    pub fn try_new(text: &str) -> Result<Self, InvalidName> {
        checked_path("mount", text.trim_matches('/')).map(Self)
    }

    /// The path, without slashes at its ends.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl KeyName {
    /// Parses the name of a Transit key.
    ///
    /// # Errors
    /// If Vault could not route it: letters, digits, `_`, and inside the name also `-` and `.`
    /// (`GenericNameRegex` of `sdk/framework/path.go`).
    pub fn try_new(text: &str) -> Result<Self, InvalidName> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let routable = text.chars().all(|c| word(c) || c == '-' || c == '.')
            && text.starts_with(word)
            && text.ends_with(word);
        if routable {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidName {
            what: "key name",
            text: text.to_owned(),
            cause: "must consist of letters, digits and _, with - and . only inside",
        })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl KeyVersion {
    /// Parses a version number; there is no version 0.
    #[must_use]
    pub fn try_new(number: u32) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TransitKey {
    /// The API path of an operation on this key, such as `transit/encrypt/kms`.
    #[must_use]
    pub fn path(&self, operation: &str) -> String {
        format!("{}/{operation}/{}", self.mount.0, self.name.0)
    }
}

impl fmt::Display for TransitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = &self.namespace.0;
        let slash = if namespace.is_empty() { "" } else { "/" };
        write!(f, "{namespace}{slash}{}/{}", self.mount.0, self.name.0)
    }
}

impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

fn checked_path(what: &'static str, path: &str) -> Result<String, InvalidName> {
    let invalid = |cause| InvalidName {
        what,
        text: path.to_owned(),
        cause,
    };
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(invalid("contains an empty, \".\" or \"..\" path segment"));
    }
    if path.contains(|c: char| !c.is_ascii_graphic() || "?#%\\:".contains(c)) {
        return Err(invalid(
            "contains a character that is not allowed in a path",
        ));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_at_the_ends_do_not_matter() {
        let mount = MountPath::try_new("/team/transit/").expect("valid");
        assert_eq!(mount.as_str(), "team/transit");
        assert_eq!(Namespace::try_new("a/b/"), Namespace::try_new("/a/b"));
    }

    #[test]
    fn root_is_the_empty_namespace() {
        assert_eq!(Namespace::try_new("root"), Ok(Namespace::default()));
        assert_eq!(Namespace::try_new("/"), Ok(Namespace::default()));
    }

    #[test]
    fn a_namespace_is_below_those_that_its_path_begins_with() {
        let namespace = |text| Namespace::try_new(text).expect("valid");
        let table = [
            ("a/b", "", Some("a/b")),
            ("a/b", "a", Some("b")),
            ("a/b/c", "a", Some("b/c")),
            ("a", "a", None),
            ("", "", None),
            ("a", "a/b", None),
            ("ab", "a", None),
        ];
        for (path, above, expected) in table {
            let found = namespace(path);
            let above = namespace(above);
            assert_eq!(found.below(&above), expected, "{path:?} {above:?}");
        }
    }

    #[test]
    fn names_that_vault_cannot_route_are_rejected() {
        for name in ["", "-a", "a-", "a/b", "a b", ".a", "é"] {
            assert!(KeyName::try_new(name).is_err(), "{name:?}");
        }
        for mount in ["", "a//b", "a/../b", "a?b", "a b", "a%2Fb"] {
            assert!(MountPath::try_new(mount).is_err(), "{mount:?}");
        }
        for name in ["a", "kms", "kms-1.prod_x", "_"] {
            assert!(KeyName::try_new(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn a_key_has_a_path_below_its_mount_and_is_named_with_its_namespace() {
        let key = |namespace| TransitKey {
            namespace: Namespace::try_new(namespace).expect("valid"),
            mount: MountPath::try_new("team/transit").expect("valid"),
            name: KeyName::try_new("kms").expect("valid"),
        };
        for (namespace, name) in [("", "team/transit/kms"), ("a/b", "a/b/team/transit/kms")] {
            let key = key(namespace);
            assert_eq!(key.path("decrypt"), "team/transit/decrypt/kms");
            assert_eq!(key.to_string(), name);
        }
    }

    #[test]
    fn the_error_quotes_the_text() {
        let error = MountPath::try_new("a b").expect_err("invalid");
        assert_eq!(
            error.to_string(),
            "mount \"a b\": contains a character that is not allowed in a path"
        );
    }
}
