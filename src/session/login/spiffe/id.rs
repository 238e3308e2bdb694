//! SPIFFE ids and trust domains, as the SPIFFE-ID specification defines them.

use std::fmt;

use thiserror::Error;

use crate::diagnosis::Diagnosis;

const SCHEME: &str = "spiffe://";
/// The specification's limits, in bytes.
const MAX_ID_BYTES: usize = 2048;
const MAX_DOMAIN_BYTES: usize = 255;

/// `spiffe://<trust domain>/<path>`, the identity of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpiffeId {
    text: String,
    domain: usize,
}

/// The name of a trust domain, such as `example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDomain(String);

/// Why a text is not a valid id or trust domain.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{text:?} is not a {what}")]
pub struct InvalidId {
    text: String,
    what: &'static str,
}

impl From<InvalidId> for Diagnosis {
    fn from(error: InvalidId) -> Self {
        Self::new(error.to_string())
    }
}

impl SpiffeId {
    /// Parses the identity of a workload.
    ///
    /// # Errors
    /// If it does not have the form of the specification, or has no path and so names no workload.
    pub fn try_new(text: &str) -> Result<Self, InvalidId> {
        let parts = text
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.split_once('/'));
        let valid = parts.is_some_and(|(domain, path)| is_domain(domain) && is_path(path));
        match parts {
            Some((domain, _)) if valid && text.len() <= MAX_ID_BYTES => Ok(Self {
                text: text.to_owned(),
                domain: domain.len(),
            }),
            _ => Err(InvalidId {
                text: text.to_owned(),
                what: "SPIFFE id such as spiffe://example.org/vault-kms-plugin",
            }),
        }
    }

    /// Its trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.text[SCHEME.len()..SCHEME.len() + self.domain]
    }
}

impl TrustDomain {
    /// Parses a name, or the id of a trust domain: a leading `spiffe://` is ignored.
    ///
    /// # Errors
    /// If it does not have the form of the specification.
    pub fn try_new(text: &str) -> Result<Self, InvalidId> {
        let name = text.strip_prefix(SCHEME).unwrap_or(text);
        if is_domain(name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidId {
                text: text.to_owned(),
                what: "trust domain such as example.org",
            })
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
    (1..=MAX_DOMAIN_BYTES).contains(&text.len()) && text.bytes().all(letter)
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
    fn texts_outside_the_specification_are_rejected() {
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
