//! The settings of a Transit mount.

use serde::Deserialize;
use tokio::time::Instant;

use crate::vault::client::{Client, Request};
use crate::vault::error::CallError;
use crate::vault::names::TransitKey;
use crate::vault::response::{Envelope, Response};
use crate::vault::secret::Token;

#[derive(Deserialize)]
struct MountData {
    #[serde(default)]
    disable_upsert: bool,
}

impl Client {
    /// Whether an Encrypt with a key that does not exist fails on this key's mount, whatever the policy
    /// grants.
    ///
    /// # Errors
    /// As [`CallError`]; most tokens may not read it.
    pub async fn is_upsert_disabled(
        &self,
        key: &TransitKey,
        token: &Token,
        deadline: Instant,
    ) -> Result<bool, CallError> {
        let path = format!("{}/config/keys", key.mount.as_str());
        let request = Request::get(&path, deadline)
            .namespace(&key.namespace)
            .token(token);
        read_is_upsert_disabled(&self.send(&request).await?)
    }
}

/// Reads the response.
pub(in crate::vault) fn read_is_upsert_disabled(response: &Response) -> Result<bool, CallError> {
    let data = response.parse::<Envelope<MountData>>()?.data;
    Ok(data.disable_upsert)
}
