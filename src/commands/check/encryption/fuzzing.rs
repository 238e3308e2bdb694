//! Any bytes as an EncryptionConfiguration.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::super::report::Report;
#[cfg(feature = "kmsctl")]
use super::Plan;
use super::decode::decode;
use super::file::{Entry, File, Key, Kms, Local, Provider, Secret};
use super::fingerprint;
use crate::commands::document::value::Value;
use crate::commands::document::{json as json_text, yaml};

/// What the secrets of the seeds contain, and no text of ours.
const MARK: &str = "s3cr3t";

/// What can be read is read back from what is written of it, as JSON and as YAML; all that reads the file agrees on
/// whether kube-apiserver accepts it; and no text quotes a secret.
///
/// # Panics
/// If that does not hold.
pub fn encryption_config(input: &[u8]) {
    let mut report = Report::default();
    super::check(Path::new("e"), Ok(input.to_vec()), None, None, &mut report);
    let mut shown = serde_json::to_string(&report).expect("JSON");
    let fingerprint = fingerprint(input);
    shown.extend(fingerprint.as_ref().err().map(String::as_str));
    #[cfg(feature = "kmsctl")]
    match Plan::parse(input) {
        Ok(plan) => {
            assert!(fingerprint.is_ok());
            for rule in plan.rules() {
                let writer = plan.writer_of(&rule.group, &rule.resource);
                assert_eq!(writer, Some(rule.writer));
            }
            let of_secrets = plan.providers_of("", "secrets");
            assert_eq!(
                of_secrets.is_some(),
                plan.writer_of("", "secrets").is_some()
            );
        }
        Err(causes) => {
            assert!(fingerprint.is_err());
            shown.extend(causes.iter().map(ToString::to_string));
        }
    }
    assert!(
        !shown.contains(MARK) || is_marked_elsewhere(input),
        "{shown}"
    );
    let Ok((file, _)) = decode(input) else {
        return assert!(fingerprint.is_err());
    };
    let text = written(&file).to_string();
    assert_eq!(read(text.as_bytes()).as_ref(), Some(&file), "as JSON");
    // YAML has no place for some characters.
    let text = format!("---\n{}\n", escaped(&text));
    if yaml::read(text.as_bytes()).is_ok() {
        assert_eq!(read(text.as_bytes()), Some(file), "as YAML");
    }
}

/// The file, if nothing in it is unknown or given twice.
fn read(text: &[u8]) -> Option<File> {
    let (file, refusals) = decode(text).ok()?;
    refusals.is_empty().then_some(file)
}

/// Whether the mark is in what texts may quote: in a name or a value that is no secret.
fn is_marked_elsewhere(input: &[u8]) -> bool {
    let value = if json_text::is_json(input) {
        json_text::read(input).ok()
    } else {
        yaml::read(input).ok().map(|document| document.value)
    };
    value.is_some_and(|value| is_marked(&value))
}

fn is_marked(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.contains(MARK),
        Value::List(items) => items.iter().any(is_marked),
        Value::Map(entries) => entries.iter().any(|(name, value)| {
            let is_secret = name == "secret" && matches!(value, Value::Text(_));
            name.contains(MARK) || (!is_secret && is_marked(value))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn written(file: &File) -> Json {
    let entries: Vec<_> = file.entries.iter().map(entry).collect();
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": entries,
    })
}

fn entry(entry: &Entry) -> Json {
    let providers: Vec<_> = entry.providers.iter().map(provider).collect();
    json!({ "resources": entry.resources, "providers": providers })
}

fn provider(provider: &Provider) -> Json {
    let mut fields = json!({});
    if let Some(it) = &provider.kms {
        fields["kms"] = kms(it);
    }
    for Local { kind, keys } in &provider.local {
        let keys: Vec<_> = keys.iter().map(key).collect();
        fields[*kind] = json!({ "keys": keys });
    }
    if provider.identity {
        fields["identity"] = json!({});
    }
    fields
}

fn key(key: &Key) -> Json {
    let secret = match key.secret {
        Secret::Missing => String::new(),
        Secret::NotBase64 => "-".to_owned(),
        Secret::Bytes(count) => base64_of_zeros(count),
    };
    json!({ "name": key.name, "secret": secret })
}

fn kms(kms: &Kms) -> Json {
    json!({
        "apiVersion": kms.api_version,
        "name": kms.name,
        "endpoint": kms.endpoint,
        "timeout": kms.timeout.as_ref().map(|timeout| &timeout.text),
        "cachesize": kms.cache_size,
    })
}

/// No bytes are only line breaks, which do not count.
fn base64_of_zeros(count: usize) -> String {
    use base64::Engine;
    if count == 0 {
        return "\n".to_owned();
    }
    base64::engine::general_purpose::STANDARD.encode(vec![0; count])
}

/// The same with the characters escaped that YAML takes for the end of a line, or for none at all.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match u32::from(c) {
            code @ 0x7f..=0xffff => escaped.push_str(&format!("\\u{code:04x}")),
            _ => escaped.push(c),
        }
    }
    escaped
}
