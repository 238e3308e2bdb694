//! SPIFFE ids and trust domains, as the SPIFFE-ID specification writes them.

use std::fmt;

use thiserror::Error;

const SCHEME: &str = "spiffe://";
/// The specification's limits, in bytes.
const ID_MOST: usize = 2048;
const DOMAIN_MOST: usize = 255;

/// `spiffe://<trust domain>/<path>`, the identity of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpiffeId {
    text: String,
    domain: usize,
}

/// The name of a trust domain, such as `example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDomain(String);

/// Why a text is neither.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{text:?} is no {what}")]
pub struct InvalidId {
    text: String,
    what: &'static str,
}

impl SpiffeId {
    /// Takes the identity of a workload.
    ///
    /// # Errors
    /// When it is not of the specification's form, or has no path and so names no workload.
    pub fn try_new(text: &str) -> Result<Self, InvalidId> {
        let parts = text
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.split_once('/'));
        let valid = parts.is_some_and(|(domain, path)| is_domain(domain) && is_path(path));
        match parts {
            Some((domain, _)) if valid && text.len() <= ID_MOST => Ok(Self {
                text: text.to_owned(),
                domain: domain.len(),
            }),
            _ => Err(InvalidId {
                text: text.to_owned(),
                what: "SPIFFE id such as spiffe://example.org/vault-kms-plugin",
            }),
        }
    }

    /// The trust domain that it belongs to.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.text[SCHEME.len()..SCHEME.len() + self.domain]
    }
}

impl TrustDomain {
    /// Takes a name, or the id of a trust domain: `spiffe://` before it does not matter.
    ///
    /// # Errors
    /// When it is not of the specification's form.
    pub fn try_new(text: &str) -> Result<Self, InvalidId> {
        let name = text.strip_prefix(SCHEME).unwrap_or(text);
        match is_domain(name) {
            true => Ok(Self(name.to_owned())),
            false => Err(InvalidId {
                text: text.to_owned(),
                what: "trust domain such as example.org",
            }),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_domain(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
    (1..=DOMAIN_MOST).contains(&text.len()) && text.bytes().all(letter)
}

fn is_path(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    text.split('/')
        .all(|part| !matches!(part, "" | "." | "..") && part.bytes().all(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_trust_domain() {
        let id = SpiffeId::try_new("spiffe://example.org/ns/kms").expect("valid");
        assert_eq!(id.trust_domain(), "example.org");
        assert_eq!(id.to_string(), "spiffe://example.org/ns/kms");
    }

    #[test]
    fn what_the_specification_does_not_allow_is_refused() {
        for text in [
            "",
            "example.org/kms",
            "https://example.org/kms",
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe://Example.org/kms",
            "spiffe:///kms",
            "spiffe://example.org/a//b",
            "spiffe://example.org/../b",
            "spiffe://example.org/a?b",
            "spiffe://user@example.org/a",
        ] {
            assert!(SpiffeId::try_new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_trust_domain_may_be_written_as_its_id() {
        let domain = |text: &str| TrustDomain::try_new(text).map(|domain| domain.0);
        assert_eq!(domain("spiffe://example.org"), domain("example.org"));
        assert!(domain("example.org/kms").is_err() && domain("").is_err());
    }
}
