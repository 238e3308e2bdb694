//! Values that must not leak (tokens, plaintexts) or must not be mistaken for others (ciphertexts).

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use zeroize::Zeroizing;

use super::names::KeyVersion;

/// A Vault token, or another secret text that is sent to Vault. Wiped when dropped.
pub struct Token(SecretString);

/// Why a text is not a valid token.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum InvalidToken {
    /// It is empty after trimming.
    #[error("is empty")]
    Empty,
    /// It contains a character that no header can carry.
    #[error("contains a character that is not printable ASCII")]
    Unprintable,
}

/// A value of kube-apiserver, before Encrypt or after Decrypt. Wiped when dropped.
pub struct Plaintext(Zeroizing<Vec<u8>>);

/// A ciphertext of Transit: `vault:v<version>:<base64>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Ciphertext(String);

/// Why bytes are not a Transit ciphertext.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("ciphertext does not have Transit's form vault:v<version>:<base64>")]
pub struct InvalidCiphertext;

impl Token {
    /// Parses a token, without surrounding white space (files end in a newline).
    ///
    /// # Errors
    /// If it is empty or cannot be sent in a header.
    pub fn try_new(text: &str) -> Result<Self, InvalidToken> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(InvalidToken::Empty);
        }
        if !trimmed.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidToken::Unprintable);
        }
        Ok(Self(SecretString::from(trimmed)))
    }

    /// Whether both are the same text.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.expose_secret() == other.expose_secret()
    }

    /// The secret itself: for a request to Vault and nothing else.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

impl Plaintext {
    /// Takes ownership of the bytes, which are wiped with this value.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret itself: for a request to Vault or the response to kube-apiserver.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }

    /// Hands the bytes to a response; the allocator wipes them once it is sent.
    #[must_use]
    pub fn into_exposed_bytes(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl Ciphertext {
    /// Parses what a client sent or Vault returned.
    ///
    /// # Errors
    /// If it does not have Transit's form; the content of the base64 is for Vault to judge.
    pub fn try_new(bytes: Vec<u8>) -> Result<Self, InvalidCiphertext> {
        let text = String::from_utf8(bytes).map_err(|_| InvalidCiphertext)?;
        let rest = text.strip_prefix("vault:v").ok_or(InvalidCiphertext)?;
        let (version, sealed) = rest.split_once(':').ok_or(InvalidCiphertext)?;
        version.parse::<u32>().map_err(|_| InvalidCiphertext)?;
        let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
        if sealed.is_empty() || !sealed.bytes().all(base64) {
            return Err(InvalidCiphertext);
        }
        Ok(Self(text))
    }

    /// The text as Transit expects it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key version that encrypted it; version 0 is read as 1 (`keysutil/policy.go`).
    #[must_use]
    pub fn version(&self) -> KeyVersion {
        let number = self.0["vault:v".len()..]
            .split(':')
            .next()
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(1);
        KeyVersion::try_new(number).unwrap_or_else(first_version)
    }

    /// The bytes as they are sent to kube-apiserver.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plaintext({} bytes, redacted)", self.0.len())
    }
}

impl fmt::Debug for Ciphertext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ciphertext({}, {} bytes)", self.version(), self.0.len())
    }
}

fn first_version() -> KeyVersion {
    #[expect(clippy::unwrap_used, reason = "1 is a version")]
    KeyVersion::try_new(1).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_trimmed_and_must_be_printable() {
        let token = Token::try_new(" hvs.abc\n").expect("valid");
        assert_eq!(token.expose_secret(), "hvs.abc");
        assert_eq!(Token::try_new(" \n").err(), Some(InvalidToken::Empty));
        assert_eq!(
            Token::try_new("a\nb").err(),
            Some(InvalidToken::Unprintable)
        );
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let token = Token::try_new("hvs.abc").expect("valid");
        let plaintext = Plaintext::new(b"abc".to_vec());
        assert!(!format!("{token:?}{plaintext:?}").contains("abc"));
    }

    #[test]
    fn only_transits_form_is_a_ciphertext() {
        let made = |text: &str| Ciphertext::try_new(text.as_bytes().to_vec());
        assert_eq!(made("vault:v12:YQ==").expect("valid").version().get(), 12);
        assert_eq!(made("vault:v0:YQ==").expect("valid").version().get(), 1);
        for garbage in [
            "",
            "vault:",
            "vault:v1",
            "vault:v1:",
            "vault:vx:YQ==",
            "vault:v1:a b",
        ] {
            assert_eq!(made(garbage), Err(InvalidCiphertext), "{garbage:?}");
        }
        assert_eq!(Ciphertext::try_new(vec![0xff; 40]), Err(InvalidCiphertext));
    }

    #[test]
    fn values_keep_their_bytes_and_debug_output_says_of_what_length_they_are() {
        let token = |text| Token::try_new(text).expect("valid");
        assert!(
            token("hvs.a").is_same(&token(" hvs.a")) && !token("hvs.a").is_same(&token("hvs.b"))
        );
        assert_eq!(Plaintext::new(b"abc".to_vec()).into_exposed_bytes(), b"abc");
        let ciphertext = Ciphertext::try_new(b"vault:v12:YQ==".to_vec()).expect("valid");
        let shown = format!(
            "{:?} {:?} {ciphertext:?}",
            token("t"),
            Plaintext::new(vec![7; 3])
        );
        let expected = "Token(redacted) Plaintext(3 bytes, redacted) Ciphertext(v12, 14 bytes)";
        assert_eq!(shown, expected);
        assert_eq!(ciphertext.into_bytes(), b"vault:v12:YQ==");
    }
}
