//! Encrypt and Decrypt: one item or many in a request, and what the answer says of each.
//!
//! Bodies are written into one buffer, without a tree of JSON between; answers are read into their
//! fields, which borrow from the body.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde::Deserialize;
use tokio::time::Instant;

use super::{Encrypted, Envelope};
use crate::vault::answer::Answer;
use crate::vault::client::{Client, Request};
use crate::vault::error::CallError;
use crate::vault::names::{KeyVersion, TransitKey};
use crate::vault::secret::{Ciphertext, Plaintext, Token};

/// What came of each item, in their order.
pub type Outcomes<T> = Vec<Result<T, CallError>>;

/// A plaintext and the version to wrap it with; without one it is the key's latest.
#[derive(Debug, Clone, Copy)]
pub struct ToEncrypt<'a> {
    /// What to wrap.
    pub plaintext: &'a Plaintext,
    /// With this version, or not at all.
    pub version: Option<KeyVersion>,
}

/// What the two operations differ in.
trait Item {
    /// What Vault makes of it.
    type Made;
    /// The last part of the path.
    const OPERATION: &'static str;
    /// How long [`Item::write`] makes the body, nearly.
    fn size(&self) -> usize;
    /// Writes its fields, as JSON, without the braces.
    fn write(&self, body: &mut Vec<u8>);
    /// Reads what the answer says of it; what is wrong with it, where something is.
    fn read(&self, data: &Fields<'_>) -> Result<Self::Made, &'static str>;
}

/// The fields of an answer, or of one item of it. A failed Decrypt has an empty plaintext beside
/// its error (OpenBao `builtin/logical/transit/path_decrypt.go`).
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    ciphertext: Option<Text<'a>>,
    key_version: Option<u32>,
    #[serde(borrow)]
    plaintext: Option<Text<'a>>,
    #[serde(borrow)]
    error: Option<Text<'a>>,
    #[serde(borrow)]
    reference: Option<Text<'a>>,
}

/// A text that is borrowed where it holds no escape; serde borrows no `Option<Cow<str>>`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    batch_results: Vec<Fields<'a>>,
}

impl Client {
    /// Wraps plaintexts, all in one request.
    ///
    /// # Errors
    /// As [`CallError`], when the request as a whole failed; what failed for one item is its outcome.
    /// An answer made by another version than asked for is an error, too.
    pub async fn encrypt(
        &self,
        key: &TransitKey,
        items: &[ToEncrypt<'_>],
        token: &Token,
        deadline: Instant,
    ) -> Result<Outcomes<Encrypted>, CallError> {
        self.all(key, items, token, deadline).await
    }

    /// Unwraps ciphertexts, all in one request.
    ///
    /// # Errors
    /// As [`CallError`], when the request as a whole failed; what failed for one item is its outcome.
    pub async fn decrypt(
        &self,
        key: &TransitKey,
        items: &[&Ciphertext],
        token: &Token,
        deadline: Instant,
    ) -> Result<Outcomes<Plaintext>, CallError> {
        self.all(key, items, token, deadline).await
    }

    async fn all<I: Item>(
        &self,
        key: &TransitKey,
        items: &[I],
        token: &Token,
        deadline: Instant,
    ) -> Result<Outcomes<I::Made>, CallError> {
        let path = key.path(I::OPERATION);
        let request = Request {
            method: Method::POST,
            path: &path,
            query: None,
            namespace: Some(&key.namespace),
            token: Some(token),
            body: Some(body(items)),
            deadline,
        };
        self.metrics().batch(I::OPERATION, items.len());
        let answer = self.send(request).await?;
        match items {
            [item] => {
                let data = answer.parse::<Envelope<Fields<'_>>>()?.data;
                Ok(vec![made(item, &data, &answer)])
            }
            _ => {
                let batch = answer.parse::<Envelope<Batch<'_>>>()?.data.batch_results;
                matched(items, &batch, &answer)
            }
        }
    }
}

/// The body of a request. A lone item goes as Vault's first form of it, which costs Vault less.
fn body<I: Item>(items: &[I]) -> Vec<u8> {
    let mut body = Vec::with_capacity(room_for(items));
    if let [item] = items {
        body.push(b'{');
        item.write(&mut body);
        body.push(b'}');
        return body;
    }
    body.extend_from_slice(br#"{"batch_input":["#);
    for (index, item) in items.iter().enumerate() {
        let start = if index == 0 { "" } else { "," };
        append(&mut body, &format!("{start}{{\"reference\":\"{index}\","));
        item.write(&mut body);
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    body
}

/// A text that may be absent; absent and empty are the same.
fn text<'a>(text: &'a Option<Text<'_>>) -> &'a str {
    text.as_ref().map_or("", |text| &text.0)
}

/// With braces, commas, the name of the list, and a reference for each.
fn room_for<I: Item>(items: &[I]) -> usize {
    items.iter().map(|item| item.size() + 32).sum::<usize>() + 32
}

fn append(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(text.as_bytes());
}

/// Each item with its own result; one that is missing, too many or of another item makes all wrong.
fn matched<I: Item>(
    items: &[I],
    results: &[Fields<'_>],
    answer: &Answer,
) -> Result<Outcomes<I::Made>, CallError> {
    if results.len() != items.len() {
        let (asked, answered) = (items.len(), results.len());
        return Err(answer.foreign(&format!("{answered} results for {asked} items")));
    }
    let of_another = |(index, data): (usize, &Fields<'_>)| {
        // A server that does not know references sends none.
        let reference = text(&data.reference);
        !reference.is_empty() && reference.parse() != Ok(index)
    };
    if results.iter().enumerate().any(of_another) {
        return Err(answer.foreign("its results are in another order than the items"));
    }
    let pairs = items.iter().zip(results);
    Ok(pairs.map(|(item, data)| made(item, data, answer)).collect())
}

fn made<I: Item>(item: &I, data: &Fields<'_>, answer: &Answer) -> Result<I::Made, CallError> {
    match text(&data.error) {
        "" => item.read(data).map_err(|cause| answer.foreign(cause)),
        words => Err(answer.refused(words)),
    }
}

impl Item for ToEncrypt<'_> {
    type Made = Encrypted;
    const OPERATION: &'static str = "encrypt";

    fn size(&self) -> usize {
        self.plaintext.expose_secret().len() * 4 / 3 + 48
    }

    fn write(&self, body: &mut Vec<u8>) {
        append(body, r#""plaintext":""#);
        write_base64(self.plaintext.expose_secret(), body);
        append(body, "\"");
        if let Some(version) = self.version {
            append(body, &format!(",\"key_version\":{}", version.get()));
        }
    }

    fn read(&self, data: &Fields<'_>) -> Result<Encrypted, &'static str> {
        let ciphertext = Ciphertext::try_new(text(&data.ciphertext).as_bytes().to_vec());
        let ciphertext = ciphertext.map_err(|_| "no ciphertext in it")?;
        let version = ciphertext.version();
        if data.key_version.is_some_and(|said| said != version.get()) {
            return Err("its key_version is not that of its ciphertext");
        }
        if self.version.is_some_and(|wanted| wanted != version) {
            return Err("it used another key version than asked for");
        }
        Ok(Encrypted {
            ciphertext,
            version,
        })
    }
}

impl Item for &Ciphertext {
    type Made = Plaintext;
    const OPERATION: &'static str = "decrypt";

    fn size(&self) -> usize {
        self.as_str().len() + 32
    }

    /// A ciphertext holds no character that JSON would escape.
    fn write(&self, body: &mut Vec<u8>) {
        append(body, r#""ciphertext":""#);
        append(body, self.as_str());
        append(body, "\"");
    }

    fn read(&self, data: &Fields<'_>) -> Result<Plaintext, &'static str> {
        let base64 = data.plaintext.as_ref().ok_or("no plaintext in it")?;
        let bytes = STANDARD.decode(&*base64.0);
        bytes
            .map(Plaintext::new)
            .map_err(|_| "its plaintext is not base64")
    }
}

/// Straight into the body, which has room for it.
fn write_base64(bytes: &[u8], body: &mut Vec<u8>) {
    let start = body.len();
    body.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut body[start..]);
    // The room is exactly what base64 takes.
    body.truncate(start + written.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer::for_test(status, body)
    }

    fn ciphertext(text: &str) -> Ciphertext {
        Ciphertext::try_new(text.as_bytes().to_vec()).expect("a ciphertext")
    }

    fn decrypted(items: usize, body: &str) -> Result<Outcomes<Plaintext>, CallError> {
        let one = ciphertext("vault:v1:YQ==");
        let answer = answer(200, body);
        let results = answer.parse::<Envelope<Batch<'_>>>()?.data.batch_results;
        matched(&vec![&one; items], &results, &answer)
    }

    #[test]
    fn a_body_is_json_of_the_form_that_transit_takes() {
        let plaintexts = [vec![0xff; 1], Vec::new(), vec![7; 32]].map(Plaintext::new);
        let version = KeyVersion::try_new(3);
        let items: Vec<_> = plaintexts
            .iter()
            .map(|plaintext| ToEncrypt { plaintext, version })
            .collect();
        let batch: serde_json::Value = serde_json::from_slice(&body(&items)).expect("JSON");
        let expected = |index: &str, plaintext: &str| serde_json::json!({ "reference": index, "plaintext": plaintext, "key_version": 3 });
        let seed = STANDARD.encode([7; 32]);
        assert_eq!(
            batch,
            serde_json::json!({ "batch_input": [expected("0", "/w=="), expected("1", ""), expected("2", &seed)] })
        );
        let one: serde_json::Value = serde_json::from_slice(&body(&items[..1])).expect("JSON");
        assert_eq!(
            one,
            serde_json::json!({ "plaintext": "/w==", "key_version": 3 })
        );
        let ciphertext = ciphertext("vault:v1:YQ==");
        let one: serde_json::Value = serde_json::from_slice(&body(&[&ciphertext])).expect("JSON");
        assert_eq!(one, serde_json::json!({ "ciphertext": "vault:v1:YQ==" }));
    }

    #[test]
    fn the_room_for_a_body_is_enough() {
        for length in 0..100 {
            let plaintext = Plaintext::new(vec![1; length]);
            let version = KeyVersion::try_new(u32::MAX);
            let items = vec![
                ToEncrypt {
                    plaintext: &plaintext,
                    version
                };
                1 + length
            ];
            assert!(body(&items).len() <= room_for(&items), "{length}");
        }
    }

    #[test]
    fn a_failed_item_is_its_own_failure() {
        let body = r#"{"data":{"batch_results":[
            {"plaintext":"YQ==","reference":"0"},
            {"plaintext":"","error":"cipher: message authentication failed","reference":"1"}]}}"#;
        let outcomes = decrypted(2, body).expect("a batch");
        assert_eq!(outcomes[0].as_ref().expect("one").expose_secret(), b"a");
        let refusal = outcomes[1].as_ref().expect_err("refused").api_error();
        assert_eq!(refusal, Some(crate::vault::ApiErrorKind::BadCiphertext));
    }

    #[test]
    fn results_that_do_not_match_the_items_are_no_answer_to_any() {
        let one = r#"{"data":{"batch_results":[{"plaintext":"YQ=="}]}}"#;
        assert!(decrypted(1, one).is_ok());
        assert!(decrypted(2, one).is_err());
        let swapped = r#"{"data":{"batch_results":[
            {"plaintext":"YQ==","reference":"1"},{"plaintext":"Yg==","reference":"0"}]}}"#;
        assert!(decrypted(2, swapped).is_err());
        let unnamed = r#"{"data":{"batch_results":[{"plaintext":"YQ==","reference":""}]}}"#;
        assert!(decrypted(1, unnamed).is_ok());
    }

    #[test]
    fn a_version_that_contradicts_its_ciphertext_is_no_answer() {
        let plaintext = Plaintext::new(Vec::new());
        let read = |wanted, said| {
            let item = ToEncrypt {
                plaintext: &plaintext,
                version: KeyVersion::try_new(wanted),
            };
            let data = Fields {
                ciphertext: Some(Text("vault:v2:YQ==".into())),
                key_version: said,
                plaintext: None,
                error: None,
                reference: None,
            };
            item.read(&data).map(|encrypted| encrypted.version.get())
        };
        assert!(read(0, Some(3)).is_err());
        assert!(read(1, Some(2)).is_err());
        assert_eq!(read(2, Some(2)), Ok(2));
        assert_eq!(read(0, None), Ok(2));
    }
}
