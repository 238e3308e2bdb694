//! The file as kube-apiserver reads it: strictly. The content of other providers is skipped: it may
//! be a key.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

const API_VERSION: &str = "apiserver.config.k8s.io/v1";
const KIND: &str = "EncryptionConfiguration";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    api_version: String,
    kind: String,
    pub(super) resources: Vec<Resource>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resource {
    pub(super) resources: Vec<String>,
    pub(super) providers: Vec<Provider>,
}

/// One provider; exactly one field is set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Provider {
    pub(super) kms: Option<Kms>,
    identity: Option<IgnoredAny>,
    aesgcm: Option<IgnoredAny>,
    aescbc: Option<IgnoredAny>,
    secretbox: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Kms {
    pub(super) api_version: Option<String>,
    pub(super) name: String,
    pub(super) endpoint: String,
    pub(super) timeout: Option<String>,
    #[serde(rename = "cachesize")]
    pub(super) cachesize: Option<i64>,
}

impl File {
    /// Reads the file. No error quotes a value: it may be a key, or another file altogether.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: Self = yaml_serde::from_str(text).map_err(|error| describe(&error))?;
        if file.api_version != API_VERSION || file.kind != KIND {
            return Err(format!(
                "it does not have apiVersion {API_VERSION} and kind {KIND}"
            ));
        }
        Ok(file)
    }
}

/// What serde expected and where, without the value that it found.
fn describe(error: &yaml_serde::Error) -> String {
    let text = error.to_string();
    let position = error.location().map_or_else(String::new, |at| {
        format!(" at line {} column {}", at.line(), at.column())
    });
    if text.contains("unknown field") || text.contains("missing field") {
        return format!("is not an {KIND}: {text}");
    }
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("is not an {KIND}: expected {expected}"),
        None => format!("is not the YAML of an {KIND}{position}"),
    }
}

impl Provider {
    /// Its name in the file.
    pub(super) fn kind(&self) -> &'static str {
        let kinds = [
            ("kms", self.kms.is_some()),
            ("identity", self.identity.is_some()),
            ("aesgcm", self.aesgcm.is_some()),
            ("aescbc", self.aescbc.is_some()),
            ("secretbox", self.secretbox.is_some()),
        ];
        kinds
            .iter()
            .find(|(_, is_set)| *is_set)
            .map_or("an empty provider", |(kind, _)| kind)
    }
}

impl Kms {
    /// The API version; Kubernetes defaults to v1.
    pub(super) fn api_version(&self) -> &str {
        self.api_version.as_deref().unwrap_or("v1")
    }
}

/// Parses `1m30s`, `2.5s`, `500ms`, as Go writes them, but nothing negative.
pub(super) fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut whole = Duration::ZERO;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(unit_at);
        let next = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(next);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let time = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        rest = after;
        whole = whole.checked_add(time)?;
    }
    Some(whole).filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_as_go_writes_them() {
        assert_eq!(go_duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(go_duration("2.5s"), Some(Duration::from_millis(2500)));
        assert_eq!(go_duration("500ms"), Some(Duration::from_millis(500)));
        for wrong in ["", "3", "-3s", "3 s", "s", "3x"] {
            assert_eq!(go_duration(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn no_error_quotes_a_value() {
        for text in [
            "hvs.s3cret",
            "kind: [s3cret]\n",
            "apiVersion: a\nkind: b\nresources: s3cret\n",
            "a: \"s3cret\nb: c",
            "resources:\n- resources: [s3cret]\n  providers: s3cret\n",
        ] {
            let text = File::parse(text).expect_err("wrong");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn unknown_fields_are_named_and_other_providers_are_skipped() {
        let text = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n\
                    - resources: [secrets]\n  providers:\n  - aescbc: {keys: [{name: a, secret: s3cret}]}\n  - identity: {}\n";
        let file = File::parse(text).expect("valid");
        let kinds: Vec<_> = file.resources[0]
            .providers
            .iter()
            .map(Provider::kind)
            .collect();
        assert_eq!(kinds, ["aescbc", "identity"]);
        let error = File::parse(&text.replace("providers", "provider")).expect_err("wrong");
        assert!(error.contains("unknown field `provider`"), "{error}");
    }
}
