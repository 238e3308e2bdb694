//! The key_id: which key, version and creation time made a ciphertext.
//!
//! Frozen: a changed format would make all of etcd stale at once.

use std::fmt::{self, Write};
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::sha256::sha256;
use crate::vault::{TransitKey, VersionStamp};

/// What every key_id of ours begins with, and the version of its form.
const SCHEME: &str = "transit1:";
/// What kube-apiserver accepts, in bytes (`envelope.go`, `keyIDMaxSize`).
const MAX_BYTES: usize = 1024;
/// `4294967295:-9223372036854775808`: the longest version and time.
const LONGEST_MOMENT: usize = 10 + 1 + 20;
/// The longest suffix, in bytes.
const MAX_SUFFIX: usize = 32;
/// RFC 3986's unreserved characters stand for themselves; all else is encoded, `/` and `:` too.
const ENCODED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// `transit1:<namespace>:<mount>:<key>:v<version>:<created>`, and `:<suffix>` if one is configured.
///
/// A clone shares the text: each Encrypt makes several.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "String", into = "String")]
pub struct KeyId(Arc<str>);

/// What a key_id of ours says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KeyIdParts {
    /// The namespace of the mount; empty for the root namespace.
    pub namespace: String,
    /// The mount of the Transit engine.
    pub mount: String,
    /// The name of the key.
    pub key: String,
    /// The version of the key.
    pub version: u32,
    /// When that version was created, in seconds since 1970.
    pub created: i64,
    /// `transit.key_id_suffix`, where one is set.
    pub suffix: Option<String>,
}

impl KeyIdParts {
    /// Reads a key_id; `None` if it is not one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let decoded = |part: &str| -> Option<String> {
            let text = percent_decode_str(part).decode_utf8().ok()?;
            Some(text.into_owned())
        };
        let mut parts = text.strip_prefix(SCHEME)?.split(':');
        let parsed = Self {
            namespace: decoded(parts.next()?)?,
            mount: decoded(parts.next()?)?,
            key: decoded(parts.next()?)?,
            version: parts.next()?.strip_prefix('v')?.parse().ok()?,
            created: parts.next()?.parse().ok()?,
            suffix: parts.next().map(str::to_owned),
        };
        let suffix = parsed.suffix.as_deref();
        let is_whole = parts.next().is_none() && suffix.is_none_or(KeyId::is_suffix);
        // Only one text is the key_id of these parts: no number has a sign or zeros before it.
        let is_canonical = parsed.to_string() == text;
        (is_whole && is_canonical && parsed.version > 0).then_some(parsed)
    }
}

impl fmt::Display for KeyIdParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = prefix_of(&self.namespace, &self.mount, &self.key);
        write!(f, "{prefix}{}:{}", self.version, self.created)?;
        match &self.suffix {
            Some(suffix) => write!(f, ":{suffix}"),
            None => Ok(()),
        }
    }
}

impl From<String> for KeyId {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<KeyId> for String {
    fn from(key_id: KeyId) -> Self {
        key_id.as_str().to_owned()
    }
}

impl KeyId {
    /// The key_id of a key at a stamp of its life.
    #[must_use]
    pub fn new(key: &TransitKey, stamp: VersionStamp) -> Self {
        let (version, created) = (stamp.version.get(), stamp.created);
        Self(format!("{}{version}:{created}", prefix(key)).into())
    }

    /// The same with a suffix (`transit.key_id_suffix`), which makes it another key_id on purpose.
    #[must_use]
    pub fn with_suffix(key: &TransitKey, stamp: VersionStamp, suffix: Option<&str>) -> Self {
        let key_id = Self::new(key, stamp);
        match suffix {
            Some(suffix) => Self(format!("{key_id}:{suffix}").into()),
            None => key_id,
        }
    }

    /// Whether this can be a suffix: 1 to 32 letters, digits, `.`, `_` or `-`.
    #[must_use]
    pub fn is_suffix(text: &str) -> bool {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        (1..=MAX_SUFFIX).contains(&text.len()) && text.chars().all(is_plain)
    }

    /// Whether this names the key at this stamp, with whatever suffix.
    #[must_use]
    pub fn is_of(&self, key: &TransitKey, stamp: VersionStamp) -> bool {
        let plain = Self::new(key, stamp);
        let rest = self.0.strip_prefix(plain.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    }

    /// The version of this key that it names; `None` if it is of another key.
    #[must_use]
    pub fn version_of(&self, key: &TransitKey) -> Option<u32> {
        let rest = self.0.strip_prefix(&prefix(key))?;
        let number = rest.split(':').next()?;
        let version: u32 = number.parse().ok()?;
        (version.to_string() == number).then_some(version)
    }

    /// Whether both name the same key, in whatever version.
    #[must_use]
    pub fn is_of_same_key(&self, other: &Self) -> bool {
        let key = |key_id: &Self| {
            let KeyIdParts {
                namespace,
                mount,
                key,
                ..
            } = KeyIdParts::parse(key_id.as_str())?;
            Some((namespace, mount, key))
        };
        key(self).is_some() && key(self) == key(other)
    }

    /// Whether a key_id, of whatever origin, names this key in one of its versions.
    #[must_use]
    pub fn names(text: &str, key: &TransitKey) -> bool {
        text.starts_with(&prefix(key))
    }

    /// Whether a key_id, of whatever origin, has the form of ours.
    #[must_use]
    pub fn is_ours(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// Whether every key_id of this key fits what kube-apiserver accepts.
    #[must_use]
    pub fn fits(key: &TransitKey) -> bool {
        prefix(key).len() + LONGEST_MOMENT + 1 + MAX_SUFFIX <= MAX_BYTES
    }

    /// The key_id as the metrics of kube-apiserver show it (`envelope/metrics/metrics.go`).
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hash = "sha256:".to_owned();
        for byte in sha256(self.0.as_bytes()) {
            // Writing to a String cannot fail.
            let _ = write!(hash, "{byte:02x}");
        }
        hash
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn prefix(key: &TransitKey) -> String {
    prefix_of(
        key.namespace.as_str(),
        key.mount.as_str(),
        key.name.as_str(),
    )
}

/// What the key_ids of all versions of a key begin with.
fn prefix_of(namespace: &str, mount: &str, key: &str) -> String {
    let part = |text| utf8_percent_encode(text, &ENCODED);
    format!(
        "{SCHEME}{}:{}:{}:v",
        part(namespace),
        part(mount),
        part(key)
    )
}

#[cfg(test)]
mod tests {
    mod exhaustive;

    use super::*;
    use crate::vault::{KeyName, KeyVersion, MountPath, Namespace};

    #[test]
    fn the_parts_of_a_key_id_are_those_it_was_made_of() {
        let key = key("team-a/b", "mounts/transit", "kms.key");
        let stamp = VersionStamp {
            version: KeyVersion::try_new(7).expect("version"),
            created: 1_795_471_780,
        };
        let key_id = KeyId::with_suffix(&key, stamp, Some("again-2"));
        let parts = KeyIdParts::parse(key_id.as_str()).expect("a key_id");
        assert_eq!(
            (
                parts.namespace.as_str(),
                parts.mount.as_str(),
                parts.key.as_str()
            ),
            ("team-a/b", "mounts/transit", "kms.key")
        );
        assert_eq!((parts.version, parts.created), (7, 1_795_471_780));
        assert_eq!(parts.suffix.as_deref(), Some("again-2"));
        for other in [
            "transit1::transit:kms:v0:1",
            "transit1::transit:kms:v1:1:",
            "transit1::transit:kms:v1:1:a:b",
            "transit1::transit:kms:v1",
            "transit1::tr%61nsit:kms:v1:1",
            "transit1::transit:kms:v01:1",
            "transit1::transit:kms:v+1:1",
            "transit1::transit:kms:v1:+1",
            "transit1::transit:kms:v1:-0",
            "transit2::transit:kms:v1:1",
            "1",
        ] {
            assert_eq!(KeyIdParts::parse(other), None, "{other}");
        }
    }

    fn key(namespace: &str, mount: &str, name: &str) -> TransitKey {
        TransitKey {
            namespace: Namespace::try_new(namespace).expect("namespace"),
            mount: MountPath::try_new(mount).expect("mount"),
            name: KeyName::try_new(name).expect("name"),
        }
    }

    fn stamp(version: u32, created: i64) -> VersionStamp {
        VersionStamp {
            created,
            version: KeyVersion::try_new(version).expect("version"),
        }
    }

    /// Golden: these texts stand in etcd for years. A change here is a change of every key_id.
    #[test]
    fn key_ids_never_change() {
        let golden = [
            (
                key("", "transit", "kms"),
                stamp(1, 1_714_000_000),
                "transit1::transit:kms:v1:1714000000",
            ),
            (
                key("platform", "transit", "kms"),
                stamp(3, 1_714_000_000),
                "transit1:platform:transit:kms:v3:1714000000",
            ),
            (
                key("/a/b/", "/team/transit/", "k.8-s_1"),
                stamp(4_294_967_295, 0),
                "transit1:a%2Fb:team%2Ftransit:k.8-s_1:v4294967295:0",
            ),
            (
                key("root", "m~x", "k"),
                stamp(10, -1),
                "transit1::m~x:k:v10:-1",
            ),
            (
                key("n+m", "p@q=r", "k"),
                stamp(2, 5),
                "transit1:n%2Bm:p%40q%3Dr:k:v2:5",
            ),
        ];
        for (key, stamp, text) in golden {
            assert_eq!(KeyId::new(&key, stamp).as_str(), text);
        }
    }

    #[test]
    fn a_suffix_makes_another_key_id_of_the_same_version() {
        let (key, first) = (key("", "transit", "kms"), stamp(2, 7));
        let suffixed = KeyId::with_suffix(&key, first, Some("b.1_2-3"));
        assert_eq!(suffixed.as_str(), "transit1::transit:kms:v2:7:b.1_2-3");
        assert_eq!(
            KeyId::with_suffix(&key, first, None),
            KeyId::new(&key, first)
        );
        assert!(KeyId::names(suffixed.as_str(), &key) && suffixed.is_of(&key, first));
        assert!(!suffixed.is_of(&key, stamp(2, 70)) && !suffixed.is_of(&key, stamp(22, 7)));
        assert!(!KeyId::new(&key, stamp(2, 77)).is_of(&key, first));
        assert_eq!(suffixed.version_of(&key), Some(2));
        assert!(KeyId::is_suffix("a") && KeyId::is_suffix(&"a".repeat(32)));
        for wrong in ["", "a:b", "a b", "ä", &"a".repeat(33)] {
            assert!(!KeyId::is_suffix(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_key_id_names_its_own_key_only() {
        let ours = key("", "transit", "kms");
        let id = KeyId::new(&ours, stamp(12, 7));
        assert!(KeyId::names(id.as_str(), &ours));
        for other in [
            key("a", "transit", "kms"),
            key("", "transit2", "kms"),
            key("", "transit", "km"),
        ] {
            assert!(!KeyId::names(id.as_str(), &other), "{other}");
        }
        assert!(!KeyId::names("somebody else's", &ours));
        assert!(KeyId::is_ours(id.as_str()) && !KeyId::is_ours("somebody else's"));
    }

    #[test]
    fn a_key_id_that_could_exceed_the_limit_is_reported() {
        assert!(KeyId::fits(&key("", "transit", &"k".repeat(900))));
        assert!(!KeyId::fits(&key("", "transit", &"k".repeat(980))));
        assert!(!KeyId::fits(&key(
            &"a/".repeat(200),
            &"b/".repeat(200),
            "k"
        )));
    }

    #[test]
    fn a_key_fits_if_and_only_if_its_longest_key_id_does() {
        let longest = VersionStamp {
            created: i64::MIN,
            version: KeyVersion::try_new(u32::MAX).expect("version"),
        };
        let suffix = "s".repeat(MAX_SUFFIX);
        for length in 900..MAX_BYTES {
            let key = key("", "transit", &"k".repeat(length));
            let key_id = KeyId::with_suffix(&key, longest, Some(&suffix));
            let is_short_enough = key_id.as_str().len() <= MAX_BYTES;
            assert_eq!(KeyId::fits(&key), is_short_enough, "{length}");
        }
    }

    #[test]
    fn a_key_id_is_hashed_as_kube_apiserver_does() {
        // From a running one.
        let hash = KeyId::from("key-v1".to_owned()).hash();
        assert!(
            hash.starts_with("sha256:cd3373fb") && hash.ends_with("7b3c0"),
            "{hash}"
        );
    }
}
