//! The items of an encrypt or decrypt call, alone or in a batch.

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::envelope::{Answer, decoded, envelope, error, refused};
use super::keys::Key;

/// The operation.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Encrypt,
    Decrypt,
}

impl Way {
    /// The data of the answer to one item, or the text of the refusal.
    pub(super) fn item(self, key: &Key, item: &Value) -> Result<Value, String> {
        let input = item[self.field()].as_str().ok_or_else(|| self.missing())?;
        let associated_data = decoded(item["associated_data"].as_str().unwrap_or_default())?;
        match self {
            Self::Encrypt => {
                let version = item["key_version"].as_i64().unwrap_or_default();
                let (ciphertext, version) =
                    key.encrypt(&decoded(input)?, &associated_data, version)?;
                Ok(json!({ "ciphertext": ciphertext, "key_version": version }))
            }
            Self::Decrypt if input.is_empty() => Err(self.missing()),
            Self::Decrypt => {
                let plaintext = key.decrypt(input, &associated_data)?;
                Ok(json!({ "plaintext": STANDARD.encode(plaintext) }))
            }
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::Encrypt => "plaintext",
            Self::Decrypt => "ciphertext",
        }
    }

    fn missing(self) -> String {
        match self {
            Self::Encrypt => "missing plaintext to encrypt".to_owned(),
            Self::Decrypt => "missing ciphertext to decrypt".to_owned(),
        }
    }

    /// In a batch, a failed decryption has its field all the same, and it is empty.
    fn refusal(self, text: String) -> Map<String, Value> {
        let mut fields = Map::from_iter([("error".to_owned(), Value::from(text))]);
        if let Self::Decrypt = self {
            fields.insert("plaintext".to_owned(), Value::from(""));
        }
        fields
    }
}

/// A batch keeps its order. If an item failed, the envelope is that of a success, but not the
/// status, which is 400.
pub(super) fn answer(key: &Key, way: Way, items: &Value) -> Answer {
    let Some(items) = items.as_array() else {
        return unreadable("expected an array");
    };
    if items.is_empty() {
        return refused("missing batch input to process");
    }
    let wrong: Vec<String> = malformed(way, items).collect();
    if !wrong.is_empty() {
        let list = wrong.join("\n");
        return unreadable(&format!("{} error(s) decoding:\n\n{list}", wrong.len()));
    }
    let results: Vec<Value> = items.iter().map(|item| result(key, way, item)).collect();
    let failed = results.iter().any(|result| result.get("error").is_some());
    let status = if failed {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    };
    let body = Some(envelope(json!({ "batch_results": results }), Value::Null));
    Answer { status, body }
}

fn malformed(way: Way, items: &[Value]) -> impl Iterator<Item = String> {
    let without = move |item: &Value| !item[way.field()].is_string();
    let numbered = items.iter().enumerate();
    numbered
        .filter(move |(_, item)| without(item))
        .map(move |(number, _)| format!("* '[{number}].{}' {}", way.field(), way.missing()))
}

fn unreadable(why: &str) -> Answer {
    let text = format!("1 error occurred:\n\t* failed to parse batch input: {why}\n\n");
    error(StatusCode::INTERNAL_SERVER_ERROR, &text)
}

fn result(key: &Key, way: Way, item: &Value) -> Value {
    let mut fields = match way.item(key, item) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => Map::new(),
        Err(text) => way.refusal(text),
    };
    let reference = item.get("reference").cloned();
    fields.insert(
        "reference".to_owned(),
        reference.unwrap_or_else(|| Value::from("")),
    );
    Value::Object(fields)
}
