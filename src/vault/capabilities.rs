//! What the policies of a token allow on paths: `sys/capabilities-self`.

use std::collections::HashMap;

use serde_json::json;
use tokio::time::Instant;

use super::client::{Client, Request};
use super::error::CallError;
use super::names::Namespace;
use super::response::{Envelope, Response};
use super::secret::Token;

impl Client {
    /// The capabilities of this token on each of these paths, in their order, such as `update`;
    /// `root` means all. Does nothing to the paths, which need not exist.
    ///
    /// # Errors
    /// As [`CallError`]; a token without the default policy is denied.
    pub async fn capabilities(
        &self,
        namespace: &Namespace,
        token: &Token,
        paths: &[String],
        deadline: Instant,
    ) -> Result<Vec<Vec<String>>, CallError> {
        let request = Request::post("sys/capabilities-self", deadline)
            .namespace(namespace)
            .token(token)
            .json(&json!({ "paths": paths }));
        let response = self.send(&request).await?;
        read_granted(&response, paths)
    }
}

/// Reads the response: what is granted on each of the paths.
pub(super) fn read_granted(
    response: &Response,
    paths: &[String],
) -> Result<Vec<Vec<String>>, CallError> {
    let mut found = response
        .parse::<Envelope<HashMap<String, Vec<String>>>>()?
        .data;
    let granted = paths.iter().map(|path| {
        let mut granted = found.remove(path).unwrap_or_default();
        granted.retain(|capability| capability != "deny");
        granted
    });
    Ok(granted.collect())
}
