//! What the policies of a token allow on paths: `sys/capabilities-self`.

use std::collections::HashMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::client::Client;
use super::error::CallError;
use super::names::Namespace;
use super::secret::Token;
use super::token::request;

#[derive(Deserialize)]
struct Envelope {
    data: HashMap<String, Vec<String>>,
}

impl Client {
    /// What this token may do on each of these paths, in their order: words such as `update`;
    /// `root` for all of them. Nothing is done to the paths, and nothing has to be there.
    ///
    /// # Errors
    /// As [`CallError`]; a token without the default policy may not ask.
    pub async fn capabilities(
        &self,
        namespace: &Namespace,
        token: &Token,
        paths: &[String],
        deadline: Instant,
    ) -> Result<Vec<Vec<String>>, CallError> {
        let body = json!({ "paths": paths }).to_string().into_bytes();
        let path = "sys/capabilities-self";
        let (namespace, token) = (Some(namespace), Some(token));
        let request = request(Method::POST, path, namespace, token, Some(body), deadline);
        let answer = self.send(request).await?;
        let mut found = answer.parse::<Envelope>()?.data;
        let granted = paths.iter().map(|path| {
            let mut granted = found.remove(path).unwrap_or_default();
            granted.retain(|word| word != "deny");
            granted
        });
        Ok(granted.collect())
    }
}
