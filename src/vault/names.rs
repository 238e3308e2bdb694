//! The names by which a Transit key is found: namespace, mount, key and version.

use std::fmt;

use thiserror::Error;

/// Why a text cannot be a name.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{what} {text:?}: {cause}")]
pub struct InvalidName {
    what: &'static str,
    text: String,
    cause: &'static str,
}

/// A namespace, without slashes at its ends; empty for the root namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespace(String);

/// The path under which an engine is mounted, without slashes at its ends; may hold some inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPath(String);

/// The name of a Transit key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

/// The version of a Transit key, from 1 up.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct KeyVersion(u32);

/// One Transit key, wherever it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransitKey {
    /// The namespace that holds the mount.
    pub namespace: Namespace,
    /// The mount of the Transit engine.
    pub mount: MountPath,
    /// The key's name.
    pub name: KeyName,
}

impl Namespace {
    /// Takes a namespace as users write it: slashes at the ends are dropped, and `root` is the
    /// root namespace (OpenBao's `namespace_store.go`).
    ///
    /// # Errors
    /// When a part of the path is empty or holds a character that no path may hold.
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
}

impl MountPath {
    /// Takes a mount path as users write it; slashes at the ends are dropped.
    ///
    /// # Errors
    /// When it is empty, or a part of it is empty or holds a character that no path may hold.
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
    /// Takes the name of a Transit key.
    ///
    /// # Errors
    /// When Vault could not route it: letters, digits, `_`, and inside the name `-` and `.` too
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
            cause: "has to be letters, digits and _, with - and . only inside",
        })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl KeyVersion {
    /// Takes a version number; there is no version 0.
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
    let refuse = |cause| InvalidName {
        what,
        text: path.to_owned(),
        cause,
    };
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(refuse("has an empty part or a dot part"));
    }
    if path.contains(|c: char| !c.is_ascii_graphic() || "?#%\\:".contains(c)) {
        return Err(refuse("holds a character that no path may hold"));
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
    fn root_is_no_namespace() {
        assert_eq!(Namespace::try_new("root"), Ok(Namespace::default()));
        assert_eq!(Namespace::try_new("/"), Ok(Namespace::default()));
    }

    #[test]
    fn what_vault_cannot_route_is_refused() {
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
    fn a_refusal_names_what_was_given() {
        let error = MountPath::try_new("a b").expect_err("invalid");
        assert_eq!(
            error.to_string(),
            "mount \"a b\": holds a character that no path may hold"
        );
    }
}
