//! Takes the secrets of a request out of what a server says about it. Vault repeats none; a proxy, a
//! plugin of Vault or an attacker in its place may.

use std::borrow::Cow;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::secret::Token;

/// The fields of a body that hold a secret.
const SECRET_FIELDS: [&str; 5] = ["plaintext", "password", "secret_id", "jwt", "token"];
/// What is shorter is found in any text.
const MIN_CHARS: usize = 4;
/// What a text holds in place of a secret.
const REDACTED: &str = "[redacted]";

/// The secrets of one request. They are looked for once there is a text, and once for all texts of
/// a response.
#[derive(Default)]
pub(super) struct Secrets<'a> {
    token: Option<&'a Token>,
    /// JSON.
    body: Option<&'a [u8]>,
    found: OnceLock<Vec<String>>,
}

impl<'a> Secrets<'a> {
    /// Of a request with this token and this body, which is JSON.
    pub(super) fn of(token: Option<&'a Token>, body: Option<&'a [u8]>) -> Self {
        let found = OnceLock::new();
        Self { token, body, found }
    }

    /// The text without them.
    pub(super) fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut redacted = Cow::Borrowed(text);
        for secret in self.found.get_or_init(|| self.all()) {
            if redacted.contains(secret) {
                redacted = Cow::Owned(redacted.replace(secret, REDACTED));
            }
        }
        redacted
    }

    /// The longest first: one may be a part of another.
    fn all(&self) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(token) = self.token {
            all.push(token.expose_secret().to_owned());
        }
        if let Some(Ok(body)) = self.body.map(serde_json::from_slice) {
            collect(&body, &mut all);
        }
        all.retain(|secret| secret.len() >= MIN_CHARS);
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        all
    }
}

fn collect(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if SECRET_FIELDS.contains(&name.as_str()) => {
                        // A server may have decoded a plaintext.
                        let decoded = STANDARD.decode(text).ok();
                        all.extend(decoded.and_then(|bytes| String::from_utf8(bytes).ok()));
                        all.push(text.clone());
                    }
                    value => collect(value, all),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, all)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secrets_of_the_request_are_taken_out_of_a_text_and_nothing_else() {
        let token = Token::try_new("hvs.abcdef").expect("a token");
        let body = br#"{"role":"plugin","jwt":"eyJhbGci.x.y","batch_input":[{"plaintext":"c2VjcmV0IQ=="}],"secret_id":"abc"}"#;
        let secrets = Secrets::of(Some(&token), Some(body));
        for (text, expected) in [
            ("permission denied", "permission denied"),
            (
                "token hvs.abcdef has expired",
                "token [redacted] has expired",
            ),
            ("bad eyJhbGci.x.y of plugin", "bad [redacted] of plugin"),
            ("secret! is c2VjcmV0IQ==", "[redacted] is [redacted]"),
            ("abc is too short to be one", "abc is too short to be one"),
        ] {
            assert_eq!(secrets.redact(text), expected);
        }
        assert_eq!(Secrets::default().redact("hvs.abcdef"), "hvs.abcdef");
    }
}
