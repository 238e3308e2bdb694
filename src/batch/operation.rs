//! The two operations that are batched.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use crate::vault::{
    AssociatedData, CallError, Ciphertext, Client, Encrypted, KeyVersion, Outcomes, Plaintext,
    ToDecrypt, ToEncrypt, Token, TransitKey,
};

/// What a batch consists of.
pub(crate) trait Operation: fmt::Debug + Clone + Send + Sync + 'static {
    /// The last part of the API path.
    const NAME: &'static str;
    /// Whether equal items may share one outcome.
    const IS_SHARED: bool;
    /// What Vault returns for an item.
    type Output: fmt::Debug + Send + 'static;
    /// About how many bytes it takes in a request.
    fn size(&self) -> usize;
    /// Whether one outcome serves both.
    fn is_same(&self, other: &Self) -> bool;
    /// A copy for another caller of the same.
    fn copy(output: &Self::Output) -> Self::Output;
    /// Sends these in one request.
    fn send(
        client: &Client,
        key: &TransitKey,
        items: &[Self],
        token: &Token,
        deadline: Instant,
    ) -> impl Future<Output = Result<Outcomes<Self::Output>, CallError>> + Send;
}

/// A plaintext to encrypt, with this version of the key or its latest.
#[derive(Debug, Clone)]
pub(crate) struct Encrypt {
    pub(crate) plaintext: Arc<Plaintext>,
    pub(crate) version: Option<KeyVersion>,
    /// What it is bound to, if anything.
    pub(crate) associated_data: Option<AssociatedData>,
}

/// A ciphertext to decrypt, and what it is bound to, if anything.
#[derive(Debug, Clone)]
pub(crate) struct Decrypt {
    pub(crate) ciphertext: Arc<Ciphertext>,
    pub(crate) associated_data: Option<AssociatedData>,
}

impl Operation for Encrypt {
    const NAME: &'static str = "encrypt";
    /// Every ciphertext needs a nonce of its own.
    const IS_SHARED: bool = false;
    type Output = Encrypted;

    fn size(&self) -> usize {
        // In base64.
        let bound = self.associated_data.as_ref();
        self.plaintext.expose_secret().len() / 3 * 4 + bound.map_or(0, |data| data.as_str().len())
    }

    fn is_same(&self, _: &Self) -> bool {
        false
    }

    fn copy(output: &Encrypted) -> Encrypted {
        output.clone()
    }

    async fn send(
        client: &Client,
        key: &TransitKey,
        items: &[Self],
        token: &Token,
        deadline: Instant,
    ) -> Result<Outcomes<Encrypted>, CallError> {
        let items = items.iter().map(|item| ToEncrypt {
            plaintext: &item.plaintext,
            version: item.version,
            associated_data: item.associated_data.as_ref(),
        });
        let items: Vec<_> = items.collect();
        client.encrypt(key, &items, token, deadline).await
    }
}

impl Operation for Decrypt {
    const NAME: &'static str = "decrypt";
    /// A plaintext does not depend on who asked for it.
    const IS_SHARED: bool = true;
    type Output = Plaintext;

    fn size(&self) -> usize {
        let bound = self.associated_data.as_ref();
        self.ciphertext.as_str().len() + bound.map_or(0, |data| data.as_str().len())
    }

    /// The same ciphertext with other associated data has another outcome.
    fn is_same(&self, other: &Self) -> bool {
        self.ciphertext == other.ciphertext && self.associated_data == other.associated_data
    }

    fn copy(output: &Plaintext) -> Plaintext {
        Plaintext::new(output.expose_secret().to_vec())
    }

    async fn send(
        client: &Client,
        key: &TransitKey,
        items: &[Self],
        token: &Token,
        deadline: Instant,
    ) -> Result<Outcomes<Plaintext>, CallError> {
        let items = items.iter().map(|item| ToDecrypt {
            ciphertext: &item.ciphertext,
            associated_data: item.associated_data.as_ref(),
        });
        let items: Vec<_> = items.collect();
        client.decrypt(key, &items, token, deadline).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decrypts_are_the_same_only_with_the_same_associated_data() {
        let decrypt = |ciphertext: &str, data: Option<&str>| Decrypt {
            ciphertext: Arc::new(
                Ciphertext::try_new(ciphertext.as_bytes().to_vec()).expect("a ciphertext"),
            ),
            associated_data: data.map(|data| AssociatedData::new(data.as_bytes())),
        };
        let one = decrypt("vault:v1:YQ==", Some("labels"));
        assert!(one.is_same(&decrypt("vault:v1:YQ==", Some("labels"))));
        for other in [
            decrypt("vault:v1:YQ==", None),
            decrypt("vault:v1:YQ==", Some("others")),
            decrypt("vault:v1:Yg==", Some("labels")),
        ] {
            assert!(!one.is_same(&other) && !other.is_same(&one));
        }
        assert!(one.size() > decrypt("vault:v1:YQ==", None).size());
    }

    #[test]
    fn the_size_of_an_item_is_about_that_of_its_texts() {
        let text = "vault:v1:YWJjZGVmZ2hpamtsbW5vcA==";
        let data = AssociatedData::new(b"labels that are rather long, as they are");
        for data in [None, Some(data)] {
            let bound = data.as_ref().map_or(0, |data| data.as_str().len());
            let decrypt = Decrypt {
                ciphertext: Arc::new(Ciphertext::try_new(text.into()).expect("a ciphertext")),
                associated_data: data.clone(),
            };
            assert_eq!(decrypt.size(), text.len() + bound);
            for length in [0, 31, 32, 33, 3_000] {
                let encrypt = Encrypt {
                    plaintext: Arc::new(Plaintext::new(vec![7; length])),
                    version: None,
                    associated_data: data.clone(),
                };
                let encoded = length.div_ceil(3) * 4 + bound;
                assert!(
                    encrypt.size() <= encoded && encrypt.size() + 4 >= encoded,
                    "{length}"
                );
                assert!(!encrypt.is_same(&encrypt), "each has a nonce of its own");
            }
        }
    }
}
