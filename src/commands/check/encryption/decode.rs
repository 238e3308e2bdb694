//! The fields of a file, decoded as kube-apiserver does: names are case-sensitive, `null` is "not
//! given", nothing is converted, and strict decoding refuses what it does not know.

mod fields;

use super::file::{Entry, File, Key, Kms, Local, Provider, Secret, Timeout};
use super::refusal::{CORRECT_THE_FILE, Refusal, When};

use crate::commands::document::value::Value;
use crate::commands::document::{base64, json, yaml};
use crate::go_duration::go_duration;
use fields::{Decoder, Fields};

const API_VERSION: &str = "apiserver.config.k8s.io/v1";
const KIND: &str = "EncryptionConfiguration";
/// What an error in the documentation once called it; every version still reads it.
const LEGACY: (&str, &str) = ("v1", "EncryptionConfig");

/// Reads the file. No refusal quotes a value that could be a key: the file may be any.
///
/// # Errors
/// All reasons for which nothing more can be said about the file.
pub(super) fn decode(text: &[u8]) -> Result<(File, Vec<Refusal>), Vec<Refusal>> {
    let mut decoder = Decoder::default();
    let value = parse(text, &mut decoder).map_err(|refusal| vec![refusal])?;
    kind(&value)?;
    let file = whole(&value, &mut decoder);
    if decoder.is_fatal {
        return Err(decoder.refusals);
    }
    Ok((file, decoder.refusals))
}

fn parse(text: &[u8], decoder: &mut Decoder) -> Result<Value, Refusal> {
    if text.is_empty() {
        return Err(Refusal::always("it is empty", CORRECT_THE_FILE));
    }
    if json::is_json(text) {
        let at = |line| format!("it begins with {{, so it has to be JSON, and line {line} is not");
        return json::read(text).map_err(|line| Refusal::always(at(line), CORRECT_THE_FILE));
    }
    let document = yaml::read(text).map_err(|error| {
        let yaml::YamlError { problem, line } = error;
        if problem == yaml::UNSUPPORTED {
            return Refusal::new(When::Unknown, problem, "write it in another form");
        }
        let text = match line {
            0 => format!("it is not the YAML of an {KIND}: {problem}"),
            line => format!("it is not the YAML of an {KIND}: line {line}: {problem}"),
        };
        Refusal::always(text, CORRECT_THE_FILE)
    })?;
    for (key, line) in document.repeated {
        decoder.strict(format!(
            "line {line} gives the key `{key}` again, of which older releases take the last"
        ));
    }
    Ok(document.value)
}

/// Whether it is an EncryptionConfiguration at all. These two fields are found in any case of their
/// letters.
fn kind(value: &Value) -> Result<(), Vec<Refusal>> {
    let found = |name: &str| {
        let Value::Map(entries) = value else {
            return None;
        };
        let mut entries = entries.iter().rev();
        match entries.find(|(key, _)| key.eq_ignore_ascii_case(name)) {
            Some((_, Value::Text(text))) => Some(text.as_str()),
            _ => None,
        }
    };
    let is = (found("apiVersion"), found("kind"));
    if is == (Some(API_VERSION), Some(KIND)) || is == (Some(LEGACY.0), Some(LEGACY.1)) {
        return Ok(());
    }
    let cause = format!("it does not have apiVersion {API_VERSION} and kind {KIND}");
    Err(vec![Refusal::always(cause, CORRECT_THE_FILE)])
}

fn whole(value: &Value, decoder: &mut Decoder) -> File {
    let fields = decoder.fields(value, "", &["apiVersion", "kind", "resources"]);
    // Found in another case of its letters it is unknown here.
    decoder.text(&fields, "kind");
    decoder.text(&fields, "apiVersion");
    File {
        entries: decoder.list(&fields, "resources", entry),
    }
}

fn entry(value: &Value, path: &str, decoder: &mut Decoder) -> Entry {
    let fields = decoder.fields(value, path, &["resources", "providers"]);
    Entry {
        resources: decoder.list(&fields, "resources", |value, path, decoder| {
            decoder.text_of(value, path).unwrap_or_default()
        }),
        providers: decoder.list(&fields, "providers", provider),
    }
}

fn provider(value: &Value, path: &str, decoder: &mut Decoder) -> Provider {
    let known = ["kms", "aesgcm", "aescbc", "secretbox", "identity"];
    let fields = decoder.fields(value, path, &known);
    let kinds = ["aesgcm", "aescbc", "secretbox"];
    Provider {
        kms: decoder.optional(&fields, "kms", kms),
        local: kinds
            .into_iter()
            .filter_map(|kind| {
                let keys = decoder.optional(&fields, kind, keys)?;
                Some(Local { kind, keys })
            })
            .collect(),
        identity: decoder
            .optional(&fields, "identity", |value, path, decoder| {
                decoder.fields(value, path, &[]);
            })
            .is_some(),
    }
}

fn keys(value: &Value, path: &str, decoder: &mut Decoder) -> Vec<Key> {
    let fields = decoder.fields(value, path, &["keys"]);
    decoder.list(&fields, "keys", key)
}

fn key(value: &Value, path: &str, decoder: &mut Decoder) -> Key {
    let fields = decoder.fields(value, path, &["name", "secret"]);
    let name = decoder.text(&fields, "name").unwrap_or_default();
    let secret = match decoder.text(&fields, "secret").unwrap_or_default() {
        text if text.is_empty() => Secret::Missing,
        text => base64::decode(&text).map_or(Secret::NotBase64, |key| Secret::Bytes(key.len())),
    };
    Key { name, secret }
}

fn kms(value: &Value, path: &str, decoder: &mut Decoder) -> Kms {
    let known = ["apiVersion", "name", "cachesize", "endpoint", "timeout"];
    let fields = decoder.fields(value, path, &known);
    let name = decoder.text(&fields, "name").unwrap_or_default();
    Kms {
        api_version: decoder.text(&fields, "apiVersion"),
        timeout: timeout(&fields, &name, decoder),
        cache_size: decoder.integer(&fields, "cachesize"),
        endpoint: decoder.text(&fields, "endpoint").unwrap_or_default(),
        name,
    }
}

fn timeout(fields: &Fields<'_>, name: &str, decoder: &mut Decoder) -> Option<Timeout> {
    let text = decoder.text(fields, "timeout")?;
    let Some(time) = go_duration(&text) else {
        let cause = format!("the timeout {text:?} of provider {name:?} is not a positive duration");
        decoder.fatal(cause, "write `timeout: 3s`");
        return None;
    };
    Some(Timeout { text, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let all = match decode(text.as_bytes()) {
            Ok((_, strict)) => strict,
            Err(fatal) => fatal,
        };
        let all: Vec<_> = all.iter().map(|one| one.problem.to_string()).collect();
        all.join("\n")
    }

    #[test]
    fn no_error_quotes_a_value() {
        for text in [
            "hvs.s3cret",
            "kind: [s3cret]\n",
            "apiVersion: a\nkind: b\nresources: s3cret\n",
            "a: \"s3cret\nb: c",
            "resources:\n- resources: [s3cret]\n  providers: s3cret\n",
            "{\"a\": s3cret",
            "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources: s3cret",
            "kind: !!int s3cret",
        ] {
            let text = refused(text);
            assert!(!text.is_empty() && !text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn unknown_fields_are_named_and_keys_are_not_kept() {
        let text = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n\
                    - resources: [secrets]\n  providers:\n  - aescbc: {keys: [{name: a, secret: c2VjcmV0}]}\n  - identity: {}\n";
        let (file, strict) = decode(text.as_bytes()).expect("valid");
        let kinds: Vec<_> = file.entries[0]
            .providers
            .iter()
            .map(Provider::kind)
            .collect();
        assert_eq!((kinds, strict), (vec!["aescbc", "identity"], vec![]));
        let Secret::Bytes(length) = file.entries[0].providers[0].local[0].keys[0].secret else {
            panic!("not base64");
        };
        assert_eq!(length, 6);
        let error = refused(&text.replace("providers", "provider"));
        assert!(error.contains("unknown field `provider`"), "{error}");
    }
}
