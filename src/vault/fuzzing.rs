//! Any bytes as a response of Vault: what has to hold of what is read from them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::capabilities::read_granted;
use super::error::CallError;
use super::names::{KeyVersion, Namespace};
use super::redaction::Secrets;
use super::response::Response;
use super::secret::{Ciphertext, Plaintext, Token};
use super::sys::{read_has_leader, read_server};
use super::token::{Grant, Lease, TokenInfo};
use super::transit::{
    Encrypted, KeyInfo, Outcomes, ToDecrypt, ToEncrypt, body, outcomes, read_is_upsert_disabled,
};
use super::wrapping::{read_creation_path, read_secret_id};

/// Those by which errors are distinguished, and some of success.
const STATUSES: [u16; 16] = [
    200, 200, 200, 200, 204, 206, 400, 403, 404, 412, 429, 472, 500, 503, 530, 600,
];
const TOKEN: &str = "hvs.token-of-the-request";
/// The fields of an item and of the envelope, in the order in which a list has them.
const FIELDS: [&str; 5] = [
    "ciphertext",
    "key_version",
    "plaintext",
    "error",
    "reference",
];

/// Any bytes as the results of an Encrypt or a Decrypt: each item has one outcome, which is made of its own
/// result and of no other; what is accepted is read back from what Vault would write; no error contains a secret.
///
/// The first byte is the operation and the number of items, the second the status.
///
/// # Panics
/// If that does not hold.
pub fn vault_items(input: &[u8]) {
    let [operation, status, response @ ..] = input else {
        return;
    };
    let count = usize::from(operation >> 2) % 4;
    let response = Response::for_test(status_of(*status), response);
    let token = token();
    if operation & 1 == 0 {
        let plaintexts: Vec<_> = (0..count)
            .map(|index| Plaintext::new(format!("plaintext of item {index}").into_bytes()))
            .collect();
        let with_version = operation & 2 == 0;
        let items: Vec<_> = (1..)
            .zip(&plaintexts)
            .map(|(number, plaintext)| ToEncrypt {
                plaintext,
                version: KeyVersion::try_new(number).filter(|_| with_version),
                associated_data: None,
            })
            .collect();
        encrypted(&items, response, &token);
    } else {
        let ciphertexts: Vec<_> = (1..=count)
            .map(|number| ciphertext(&format!("vault:v{number}:AAAA")))
            .collect();
        let items: Vec<_> = ciphertexts.iter().map(ToDecrypt::from).collect();
        decrypted(&items, response, &token);
    }
}

fn encrypted(items: &[ToEncrypt<'_>], response: Response, token: &Token) {
    let request = body(items);
    let secrets = Secrets::of(Some(token), Some(&request));
    let known: Vec<_> = items
        .iter()
        .map(|item| String::from_utf8_lossy(item.plaintext.expose_secret()).into_owned())
        .collect();
    let response = response.successful(&secrets);
    let read = response.and_then(|it| Ok((outcomes(items, &it, &secrets)?, it)));
    let Some((found, response)) = checked(read, &known) else {
        return;
    };
    check_errors(&found, &known);
    assert_eq!(found.len(), items.len(), "an outcome for each item");
    for (item, one) in items.iter().zip(&found) {
        let Ok(Encrypted {
            ciphertext,
            version,
        }) = one
        else {
            continue;
        };
        assert_eq!(ciphertext.version(), *version);
        assert!(item.version.is_none_or(|wanted| wanted == *version));
    }
    let texts: Vec<_> = found
        .iter()
        .map(|one| {
            one.as_ref()
                .ok()
                .map(|it| it.ciphertext.as_str().to_owned())
        })
        .collect();
    of_own_result("ciphertext", &texts, &response);
    let again = outcomes(items, &written("ciphertext", &texts), &secrets).expect("as Vault writes");
    let again: Vec<_> = again
        .iter()
        .map(|one| {
            one.as_ref()
                .ok()
                .map(|it| it.ciphertext.as_str().to_owned())
        })
        .collect();
    assert_eq!(again, texts, "what was read is read back");
}

fn decrypted(items: &[ToDecrypt<'_>], response: Response, token: &Token) {
    let request = body(items);
    let secrets = Secrets::of(Some(token), Some(&request));
    let response = response.successful(&secrets);
    let read = response.and_then(|it| Ok((outcomes(items, &it, &secrets)?, it)));
    let Some((found, response)) = checked(read, &[]) else {
        return;
    };
    check_errors(&found, &[]);
    assert_eq!(found.len(), items.len(), "an outcome for each item");
    let text = |one: &Result<Plaintext, CallError>| {
        let plaintext = one.as_ref().ok()?;
        Some(STANDARD.encode(plaintext.expose_secret()))
    };
    let texts: Vec<_> = found.iter().map(text).collect();
    of_own_result("plaintext", &texts, &response);
    let again = outcomes(items, &written("plaintext", &texts), &secrets).expect("as Vault writes");
    let again: Vec<_> = again.iter().map(text).collect();
    assert_eq!(again, texts, "what was read is read back");
}

/// Every text is the one of the result at its own place, by another reader of JSON.
fn of_own_result(field: &str, texts: &[Option<String>], response: &Response) {
    // It refuses more numbers and texts than are looked at here.
    let Ok(body) = response.parse::<Value>() else {
        return;
    };
    let data = part(&body, &["data"], "data").expect("an envelope");
    let batch = part(data, &["batch_results"], "batch_results").and_then(Value::as_array);
    for (index, text) in texts.iter().enumerate() {
        let result = match (texts.len(), batch) {
            (1, _) => data,
            (_, Some(batch)) => &batch[index],
            (_, None) => panic!("outcomes without results"),
        };
        let of_result = |field| part(result, &FIELDS, field).and_then(Value::as_str);
        let Some(text) = text else {
            continue;
        };
        assert_eq!(of_result(field), Some(text.as_str()), "item {index}");
        assert_eq!(of_result("error").unwrap_or_default(), "", "item {index}");
        let reference = of_result("reference").unwrap_or_default();
        if texts.len() > 1 && !reference.is_empty() {
            assert_eq!(reference.parse(), Ok(index), "a result of its own");
        }
    }
}

/// A field of what may be an object, or a list of the values of these fields.
fn part<'a>(value: &'a Value, fields: &[&str], name: &str) -> Option<&'a Value> {
    match value {
        Value::Array(values) => values.get(fields.iter().position(|field| *field == name)?),
        value => value.get(name),
    }
}

/// The response that Vault writes for these outcomes; `None` is a failed item.
fn written(field: &str, texts: &[Option<String>]) -> Response {
    let result = |(index, text): (usize, &Option<String>)| match text {
        Some(text) => json!({ field: text, "reference": index.to_string() }),
        None => json!({ field: "", "error": "failed", "reference": index.to_string() }),
    };
    let results: Vec<_> = texts.iter().enumerate().map(result).collect();
    let body = match &results[..] {
        [one] => json!({ "data": one }),
        results => json!({ "data": { "batch_results": results } }),
    };
    Response::for_test(200, body.to_string())
}

/// Any bytes as any other response: what is accepted is within its bounds, and is read back from what Vault would
/// write; no error and no warning contains a secret.
///
/// The first byte is the status.
///
/// # Panics
/// If that does not hold.
pub fn vault_response(input: &[u8]) {
    let [status, response @ ..] = input else {
        return;
    };
    let token = token();
    let secrets = Secrets::of(Some(&token), None);
    let response = Response::for_test(status_of(*status), response).successful(&secrets);
    let Some(response) = checked(response, &[]) else {
        return;
    };
    if let Some(grant) = checked(Grant::read(&response, &secrets), &[]) {
        let text = grant.token.expose_secret();
        assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
        check_lease(grant.lease);
        assert!(grant.warnings.iter().all(|it| !it.contains(TOKEN)));
    }
    if let Some(Some(lease)) = checked(Lease::read_renewed(&response), &[]) {
        check_lease(lease);
    }
    if let Some(info) = checked(TokenInfo::read(&response), &[]) {
        check_lease(info.lease);
        assert!(info.age.is_none() || info.lease.ttl.is_some());
        let again = TokenInfo::read(&written_token(&info)).expect("as Vault writes");
        assert_eq!(format!("{again:?}"), format!("{info:?}"));
    }
    key(&response);
    let _ = checked(read_server(&response), &[]);
    let _ = checked(read_has_leader(&response), &[]);
    let _ = checked(read_is_upsert_disabled(&response), &[]);
    let _ = checked(read_creation_path(&response), &[]);
    let _ = checked(read_secret_id(&response), &[]);
    let paths = ["transit/encrypt/kms", "transit/decrypt/kms"].map(str::to_owned);
    if let Some(granted) = checked(read_granted(&response, &paths), &[]) {
        assert_eq!(granted.len(), paths.len());
        assert!(granted.iter().flatten().all(|it| it != "deny"));
    }
}

fn key(response: &Response) {
    let info = checked(KeyInfo::read(response), &[]);
    if let Some(info) = &info {
        let again = KeyInfo::read(&written_key(info)).expect("as Vault writes");
        let unfit = info.unfit;
        assert_eq!(&KeyInfo { unfit, ..again }, info);
    }
    #[cfg(feature = "kmsctl")]
    {
        let versions = checked(super::transit::read_with_versions(response), &[]);
        let versions = versions.map(|(same, all)| {
            assert!(all.is_sorted_by(|one, next| one.version < next.version));
            same
        });
        assert_eq!(versions, info);
    }
}

fn written_key(info: &KeyInfo) -> Response {
    let version = info.latest.version.get();
    let data = json!({
        "latest_version": version,
        "keys": { version.to_string(): info.latest.created },
        "type": info.kind,
        "min_decryption_version": info.min_decryption_version,
        "min_encryption_version": info.min_encryption_version,
        "auto_rotate_period": info.auto_rotate_period.as_secs(),
        "deletion_allowed": info.deletion_allowed,
        "exportable": info.exportable,
        "allow_plaintext_backup": info.plaintext_backup_allowed,
        "imported_key": info.imported,
    });
    Response::for_test(200, json!({ "data": data }).to_string())
}

fn written_token(info: &TokenInfo) -> Response {
    let left = info.lease.ttl.unwrap_or_default().as_secs();
    let data = json!({
        "ttl": left,
        "creation_ttl": info.age.map(|age| left + age.as_secs()).unwrap_or_default(),
        "last_renewal": info.age.is_none().then_some(1),
        "expire_time": info.lease.ttl.map(|_| "2024-04-24T23:06:40Z"),
        "renewable": info.lease.renewable,
        "num_uses": info.lease.num_uses,
        "period": u64::from(info.is_periodic),
        "orphan": !info.has_parent,
        "policies": info.policies,
        "type": info.kind,
        "namespace_path": info.namespace.as_str(),
    });
    let namespace = Namespace::try_new(info.namespace.as_str());
    assert_eq!(namespace.as_ref(), Ok(&info.namespace));
    Response::for_test(200, json!({ "data": data }).to_string())
}

/// It can be added to the clock.
fn check_lease(lease: Lease) {
    let _ = Instant::now() + lease.ttl.unwrap_or_default();
}

fn check_errors<T>(outcomes: &Outcomes<T>, secrets: &[String]) {
    let errors = outcomes.iter().filter_map(|one| one.as_ref().err());
    errors.for_each(|error| check_error(error, secrets));
}

/// The value; of an error only that it says nothing that it must not.
fn checked<T>(read: Result<T, CallError>, secrets: &[String]) -> Option<T> {
    read.inspect_err(|error| check_error(error, secrets)).ok()
}

fn check_error(error: &CallError, secrets: &[String]) {
    let text = format!("{error}{error:?}{}{}", error.diagnosis(), error.reason());
    assert!(!text.contains(TOKEN), "{text}");
    for secret in secrets {
        let encoded = STANDARD.encode(secret);
        assert!(!text.contains(secret) && !text.contains(&encoded), "{text}");
    }
    if let CallError::Api { message, .. } = error {
        assert!(message.chars().count() <= 500 && !message.contains('\n'));
    }
}

fn status_of(byte: u8) -> u16 {
    STATUSES[usize::from(byte) % STATUSES.len()]
}

fn token() -> Token {
    Token::try_new(TOKEN).expect("a token")
}

fn ciphertext(text: &str) -> Ciphertext {
    Ciphertext::try_new(text.as_bytes().to_vec()).expect("a ciphertext")
}
