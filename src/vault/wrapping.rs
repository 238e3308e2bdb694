//! Response wrapping: what a wrapping token was made for, and what it wraps. A token unwraps once.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::client::Client;
use super::error::CallError;
use super::names::Namespace;
use super::secret::Token;
use super::token::request;

/// Vault's words for a wrapping token that it does not know (any more); `request_handling.go`.
const SPENT: &str = "wrapping token is not valid or does not exist";

#[derive(Deserialize)]
struct LookupEnvelope {
    data: LookupData,
}

#[derive(Deserialize)]
struct LookupData {
    creation_path: String,
}

#[derive(Deserialize)]
struct SecretIdEnvelope {
    data: SecretIdData,
}

#[derive(Deserialize)]
struct SecretIdData {
    secret_id: Zeroizing<String>,
}

impl Client {
    /// The API path whose answer this token wraps. Spends nothing, and needs no other token.
    ///
    /// # Errors
    /// As [`CallError`]; see [`CallError::is_spent_wrapping`].
    pub async fn wrapped_path(
        &self,
        namespace: &Namespace,
        wrapping: &Token,
        deadline: Instant,
    ) -> Result<String, CallError> {
        let body = json!({ "token": wrapping.expose_secret() });
        let request = request(
            Method::POST,
            "sys/wrapping/lookup",
            Some(namespace),
            None,
            Some(body.to_string().into_bytes()),
            deadline,
        );
        let answer = self.send(request).await?;
        Ok(answer.parse::<LookupEnvelope>()?.data.creation_path)
    }

    /// Unwraps a secret_id; the token is spent by it.
    ///
    /// # Errors
    /// As [`CallError`]. One that is no refusal may have spent the token as well.
    pub async fn unwrap_secret_id(
        &self,
        namespace: &Namespace,
        wrapping: &Token,
        deadline: Instant,
    ) -> Result<Zeroizing<String>, CallError> {
        let request = request(
            Method::POST,
            "sys/wrapping/unwrap",
            Some(namespace),
            Some(wrapping),
            Some(json!({}).to_string().into_bytes()),
            deadline,
        );
        let answer = self.send(request).await?;
        Ok(answer.parse::<SecretIdEnvelope>()?.data.secret_id)
    }
}

impl CallError {
    /// Whether Vault says that a wrapping token was unwrapped before, or has expired: it does not
    /// tell which.
    #[must_use]
    pub fn is_spent_wrapping(&self) -> bool {
        matches!(self, Self::Api { message, .. } if message.contains(SPENT))
    }
}
