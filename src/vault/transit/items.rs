//! Encrypt and Decrypt: one item or many in a request, and the result of each.
//!
//! Bodies are written into one buffer, without an intermediate JSON tree; responses are parsed into
//! fields that borrow from the body.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::time::Instant;

use crate::vault::client::{Client, Request};
use crate::vault::error::CallError;
use crate::vault::names::{KeyVersion, TransitKey};
use crate::vault::redaction::Secrets;
use crate::vault::response::{Envelope, Response};
use crate::vault::secret::{Ciphertext, Plaintext, Token};

/// A ciphertext and the key version that Vault reports for it.
#[derive(Debug, Clone)]
pub struct Encrypted {
    /// Transit's own text.
    pub ciphertext: Ciphertext,
    /// The version in the response; the same as in the text.
    pub version: KeyVersion,
}

/// The outcome of each item, in their order.
pub type Outcomes<T> = Vec<Result<T, CallError>>;

/// A plaintext and the version to encrypt it with; `None` is the key's latest.
#[derive(Debug, Clone, Copy)]
pub struct ToEncrypt<'a> {
    /// What to encrypt.
    pub plaintext: &'a Plaintext,
    /// With this version, or fail.
    pub version: Option<KeyVersion>,
    /// What it is bound to; `None` is nothing.
    pub associated_data: Option<&'a AssociatedData>,
}

/// A ciphertext, and what it is bound to.
#[derive(Debug, Clone, Copy)]
pub struct ToDecrypt<'a> {
    /// What to decrypt.
    pub ciphertext: &'a Ciphertext,
    /// What it was encrypted with; `None` is nothing.
    pub associated_data: Option<&'a AssociatedData>,
}

/// What a ciphertext is bound to, without being part of it: no secret. In base64, as Transit takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociatedData(Arc<str>);

impl AssociatedData {
    /// These bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(STANDARD.encode(bytes).into())
    }

    /// In base64.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a Ciphertext> for ToDecrypt<'a> {
    /// Bound to nothing.
    fn from(ciphertext: &'a Ciphertext) -> Self {
        Self {
            ciphertext,
            associated_data: None,
        }
    }
}

/// What differs between the two operations.
pub(in crate::vault) trait Item {
    /// The result.
    type Made;
    /// The last part of the path.
    const OPERATION: &'static str;
    /// Approximately how many bytes [`Item::write`] adds to the body.
    fn size(&self) -> usize;
    /// Writes its fields as JSON, without the braces.
    fn write(&self, body: &mut Vec<u8>);
    /// Reads its result; the error says what is wrong with the result.
    fn read(&self, data: &Fields<'_>) -> Result<Self::Made, &'static str>;
}

/// The fields of a response, or of one item of it. A failed Decrypt has an empty plaintext beside
/// its error (OpenBao `builtin/logical/transit/path_decrypt.go`).
#[derive(Deserialize)]
pub(in crate::vault) struct Fields<'a> {
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

/// A text that is borrowed unless it contains an escape; serde cannot borrow an `Option<Cow<str>>`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    batch_results: Vec<Fields<'a>>,
}

impl Client {
    /// Encrypts plaintexts, all in one request.
    ///
    /// # Errors
    /// As [`CallError`], if the request as a whole failed; the failure of one item is its outcome.
    /// A result of another version than requested is an error, too.
    pub async fn encrypt(
        &self,
        key: &TransitKey,
        items: &[ToEncrypt<'_>],
        token: &Token,
        deadline: Instant,
    ) -> Result<Outcomes<Encrypted>, CallError> {
        self.send_items(key, items, token, deadline).await
    }

    /// Decrypts ciphertexts, all in one request.
    ///
    /// # Errors
    /// As [`CallError`], if the request as a whole failed; the failure of one item is its outcome.
    pub async fn decrypt(
        &self,
        key: &TransitKey,
        items: &[ToDecrypt<'_>],
        token: &Token,
        deadline: Instant,
    ) -> Result<Outcomes<Plaintext>, CallError> {
        self.send_items(key, items, token, deadline).await
    }

    async fn send_items<I: Item>(
        &self,
        key: &TransitKey,
        items: &[I],
        token: &Token,
        deadline: Instant,
    ) -> Result<Outcomes<I::Made>, CallError> {
        let path = key.path(I::OPERATION);
        let request = Request::post(&path, deadline)
            .namespace(&key.namespace)
            .token(token)
            .body(body(items));
        self.metrics().batch(I::OPERATION, items.len());
        let response = self.send(&request).await?;
        outcomes(items, &response, &request.secrets())
    }
}

/// Reads the response to a request with these items: an outcome for each.
pub(in crate::vault) fn outcomes<I: Item>(
    items: &[I],
    response: &Response,
    secrets: &Secrets<'_>,
) -> Result<Outcomes<I::Made>, CallError> {
    match items {
        [item] => {
            let data = response.parse::<Envelope<Fields<'_>>>()?.data;
            Ok(vec![result_of(item, &data, response, secrets)])
        }
        _ => {
            let batch = response.parse::<Envelope<Batch<'_>>>()?.data.batch_results;
            matched(items, &batch, response, secrets)
        }
    }
}

/// The body of a request. A single item uses the form without a batch, which costs Vault less.
pub(in crate::vault) fn body<I: Item>(items: &[I]) -> Vec<u8> {
    let mut body = Vec::with_capacity(capacity_for(items));
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

/// Includes braces, commas, the name of the list, and a reference for each item.
fn capacity_for<I: Item>(items: &[I]) -> usize {
    items.iter().map(|item| item.size() + 32).sum::<usize>() + 32
}

fn append(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(text.as_bytes());
}

/// Each item with its own result. A result that is missing, extra or out of order fails all.
fn matched<I: Item>(
    items: &[I],
    results: &[Fields<'_>],
    response: &Response,
    secrets: &Secrets<'_>,
) -> Result<Outcomes<I::Made>, CallError> {
    if results.len() != items.len() {
        let expected = items.len();
        let count = results.len();
        let cause = format!("it holds {count} results for {expected} items");
        return Err(response.unexpected(cause));
    }
    let is_out_of_order = |(index, data): (usize, &Fields<'_>)| {
        // A server that does not support references sends none.
        let reference = text(&data.reference);
        !reference.is_empty() && reference.parse() != Ok(index)
    };
    if results.iter().enumerate().any(is_out_of_order) {
        return Err(response.unexpected("its results are in another order than the items"));
    }
    let pairs = items.iter().zip(results);
    Ok(pairs
        .map(|(item, data)| result_of(item, data, response, secrets))
        .collect())
}

fn result_of<I: Item>(
    item: &I,
    data: &Fields<'_>,
    response: &Response,
    secrets: &Secrets<'_>,
) -> Result<I::Made, CallError> {
    match text(&data.error) {
        "" => item.read(data).map_err(|cause| response.unexpected(cause)),
        message => Err(response.api_error(message, secrets)),
    }
}

impl Item for ToEncrypt<'_> {
    type Made = Encrypted;
    const OPERATION: &'static str = "encrypt";

    fn size(&self) -> usize {
        self.plaintext.expose_secret().len() * 4 / 3 + 48 + size_of_bound(self.associated_data)
    }

    fn write(&self, body: &mut Vec<u8>) {
        append(body, r#""plaintext":""#);
        write_base64(self.plaintext.expose_secret(), body);
        append(body, "\"");
        if let Some(version) = self.version {
            append(body, &format!(",\"key_version\":{}", version.get()));
        }
        write_bound(self.associated_data, body);
    }

    fn read(&self, data: &Fields<'_>) -> Result<Encrypted, &'static str> {
        let ciphertext = Ciphertext::try_new(text(&data.ciphertext).as_bytes().to_vec());
        let ciphertext = ciphertext.map_err(|_| "it holds no ciphertext")?;
        let version = ciphertext.version();
        if data
            .key_version
            .is_some_and(|reported| reported != version.get())
        {
            return Err("its key_version is not that of its ciphertext");
        }
        if self.version.is_some_and(|wanted| wanted != version) {
            return Err("it used another key version than requested");
        }
        Ok(Encrypted {
            ciphertext,
            version,
        })
    }
}

impl Item for ToDecrypt<'_> {
    type Made = Plaintext;
    const OPERATION: &'static str = "decrypt";

    fn size(&self) -> usize {
        self.ciphertext.as_str().len() + 32 + size_of_bound(self.associated_data)
    }

    /// Neither text contains a character that JSON would escape.
    fn write(&self, body: &mut Vec<u8>) {
        append(body, r#""ciphertext":""#);
        append(body, self.ciphertext.as_str());
        append(body, "\"");
        write_bound(self.associated_data, body);
    }

    fn read(&self, data: &Fields<'_>) -> Result<Plaintext, &'static str> {
        let base64 = data.plaintext.as_ref().ok_or("it holds no plaintext")?;
        let bytes = STANDARD.decode(&*base64.0);
        bytes
            .map(Plaintext::new)
            .map_err(|_| "its plaintext is not base64")
    }
}

fn size_of_bound(data: Option<&AssociatedData>) -> usize {
    data.map_or(0, |data| data.as_str().len() + 32)
}

/// Base64 contains no character that JSON would escape.
fn write_bound(data: Option<&AssociatedData>, body: &mut Vec<u8>) {
    if let Some(data) = data {
        append(body, r#","associated_data":""#);
        append(body, data.as_str());
        append(body, "\"");
    }
}

/// Encodes directly into the body, without a copy that would have to be wiped.
fn write_base64(bytes: &[u8], body: &mut Vec<u8>) {
    let start = body.len();
    body.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut body[start..]);
    // The slice has exactly the length of the base64.
    body.truncate(start + written.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> Response {
        Response::for_test(status, body)
    }

    fn ciphertext(text: &str) -> Ciphertext {
        Ciphertext::try_new(text.as_bytes().to_vec()).expect("a ciphertext")
    }

    fn decrypted(items: usize, body: &str) -> Result<Outcomes<Plaintext>, CallError> {
        let one = ciphertext("vault:v1:YQ==");
        let response = response(200, body);
        let results = response.parse::<Envelope<Batch<'_>>>()?.data.batch_results;
        let items = vec![ToDecrypt::from(&one); items];
        matched(&items, &results, &response, &Secrets::default())
    }

    #[test]
    fn a_body_has_the_form_that_transit_expects() {
        let plaintexts = [vec![0xff; 1], Vec::new(), vec![7; 32]].map(Plaintext::new);
        let version = KeyVersion::try_new(3);
        let items: Vec<_> = plaintexts
            .iter()
            .map(|plaintext| ToEncrypt {
                plaintext,
                version,
                associated_data: None,
            })
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
        let plain = ToDecrypt::from(&ciphertext);
        let one: serde_json::Value = serde_json::from_slice(&body(&[plain])).expect("JSON");
        assert_eq!(one, serde_json::json!({ "ciphertext": "vault:v1:YQ==" }));
        let data = AssociatedData::new(b"labels");
        let bound = ToDecrypt {
            associated_data: Some(&data),
            ..plain
        };
        let two: serde_json::Value = serde_json::from_slice(&body(&[plain, bound])).expect("JSON");
        assert_eq!(
            two,
            serde_json::json!({ "batch_input": [
                { "reference": "0", "ciphertext": "vault:v1:YQ==" },
                { "reference": "1", "ciphertext": "vault:v1:YQ==", "associated_data": "bGFiZWxz" },
            ] })
        );
    }

    #[test]
    fn the_capacity_of_a_body_suffices() {
        for length in 0..100 {
            let plaintext = Plaintext::new(vec![1; length]);
            let version = KeyVersion::try_new(u32::MAX);
            let data = AssociatedData::new(&vec![1; length]);
            let items = vec![
                ToEncrypt {
                    plaintext: &plaintext,
                    version,
                    associated_data: Some(&data),
                };
                1 + length
            ];
            assert!(body(&items).len() <= capacity_for(&items), "{length}");
            let ciphertext = ciphertext("vault:v1:YQ==");
            let items = vec![
                ToDecrypt {
                    ciphertext: &ciphertext,
                    associated_data: Some(&data),
                };
                1 + length
            ];
            assert!(body(&items).len() <= capacity_for(&items), "{length}");
        }
    }

    #[test]
    fn a_failed_item_does_not_fail_the_others() {
        let body = r#"{"data":{"batch_results":[
            {"plaintext":"YQ==","reference":"0"},
            {"plaintext":"","error":"cipher: message authentication failed","reference":"1"}]}}"#;
        let outcomes = decrypted(2, body).expect("a batch");
        assert_eq!(outcomes[0].as_ref().expect("one").expose_secret(), b"a");
        let kind = outcomes[1].as_ref().expect_err("refused").api_error();
        assert_eq!(kind, Some(crate::vault::ApiErrorKind::BadCiphertext));
    }

    #[test]
    fn results_that_do_not_match_the_items_fail_all() {
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
    fn a_version_that_contradicts_its_ciphertext_is_an_error() {
        let plaintext = Plaintext::new(Vec::new());
        let read = |wanted, reported| {
            let item = ToEncrypt {
                plaintext: &plaintext,
                version: KeyVersion::try_new(wanted),
                associated_data: None,
            };
            let data = Fields {
                ciphertext: Some(Text("vault:v2:YQ==".into())),
                key_version: reported,
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

    /// A buffer that grew would leave the seeds behind in the smaller one.
    #[test]
    fn a_body_fits_the_buffer_that_it_was_given() {
        let data = AssociatedData::new(&[7; 64]);
        let version = KeyVersion::try_new(u32::MAX);
        for (length, bound) in [
            (0, None),
            (1, None),
            (32, Some(&data)),
            (128, Some(&data)),
            (1_000, None),
        ] {
            for count in [1, 2, 10, 128] {
                let plaintext = Plaintext::new(vec![0xff; length]);
                let encrypts: Vec<_> = (0..count)
                    .map(|_| ToEncrypt {
                        plaintext: &plaintext,
                        version,
                        associated_data: bound,
                    })
                    .collect();
                let ciphertext = ciphertext(&format!("vault:v1:{}", "A".repeat(length + 1)));
                let decrypts: Vec<_> = (0..count)
                    .map(|_| ToDecrypt {
                        ciphertext: &ciphertext,
                        associated_data: bound,
                    })
                    .collect();
                let (written, given) = (body(&encrypts).len(), capacity_for(&encrypts));
                assert!(
                    written <= given && given <= 3 * written + 100,
                    "{length} {count}: {written} {given}"
                );
                let (written, given) = (body(&decrypts).len(), capacity_for(&decrypts));
                assert!(
                    written <= given && given <= 3 * written + 100,
                    "{length} {count}: {written} {given}"
                );
            }
        }
    }
}
