//! Response wrapping: which response a wrapping token holds, and the unwrapping, which works once.

use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::client::{Client, Request};
use super::error::CallError;
use super::names::Namespace;
use super::response::{Envelope, Response};
use super::secret::Token;

/// Vault's message for a wrapping token that it does not know (any more); `request_handling.go`.
const SPENT: &str = "wrapping token is not valid or does not exist";

#[derive(Deserialize)]
struct LookupData {
    creation_path: String,
}

#[derive(Deserialize)]
struct SecretIdData {
    secret_id: Zeroizing<String>,
}

impl Client {
    /// The API path whose response this token wraps. Does not spend the token, and needs no other.
    ///
    /// # Errors
    /// As [`CallError`]; see [`CallError::is_spent_wrapping`].
    pub async fn wrapped_path(
        &self,
        namespace: &Namespace,
        wrapping: &Token,
        deadline: Instant,
    ) -> Result<String, CallError> {
        let request = Request::post("sys/wrapping/lookup", deadline)
            .namespace(namespace)
            .json(&json!({ "token": wrapping.expose_secret() }));
        let response = self.send(&request).await?;
        read_creation_path(&response)
    }

    /// Unwraps a secret_id, which spends the token.
    ///
    /// # Errors
    /// As [`CallError`]. An error that is not Vault's may also have spent the token.
    pub async fn unwrap_secret_id(
        &self,
        namespace: &Namespace,
        wrapping: &Token,
        deadline: Instant,
    ) -> Result<Zeroizing<String>, CallError> {
        let request = Request::post("sys/wrapping/unwrap", deadline)
            .namespace(namespace)
            .token(wrapping)
            .json(&json!({}));
        let response = self.send(&request).await?;
        read_secret_id(&response)
    }
}

/// Reads the response to the lookup of a wrapping token.
pub(super) fn read_creation_path(response: &Response) -> Result<String, CallError> {
    Ok(response.parse::<Envelope<LookupData>>()?.data.creation_path)
}

/// Reads an unwrapped response that holds a secret_id.
pub(super) fn read_secret_id(response: &Response) -> Result<Zeroizing<String>, CallError> {
    Ok(response.parse::<Envelope<SecretIdData>>()?.data.secret_id)
}

impl CallError {
    /// Whether Vault reports that a wrapping token was unwrapped before or has expired: it does not
    /// report which.
    #[must_use]
    pub fn is_spent_wrapping(&self) -> bool {
        matches!(self, Self::Api { message, .. } if message.contains(SPENT))
    }
}
