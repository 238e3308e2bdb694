//! The rotation of a key, and all its versions: for `vault-kmsctl`. The daemon never rotates.

use tokio::time::Instant;

use super::key::VersionStamp;
use crate::vault::client::{Client, Request};
use crate::vault::error::CallError;
use crate::vault::names::TransitKey;
use crate::vault::secret::Token;

/// The versions of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyVersions {
    /// The one that encrypts.
    pub latest: VersionStamp,
    /// All that Vault still has, the latest among them.
    pub all: Vec<VersionStamp>,
}

impl Client {
    /// Adds a version to the key. Is sent once: after an error it may have been done.
    ///
    /// # Errors
    /// As [`CallError`].
    pub async fn rotate_key(
        &self,
        key: &TransitKey,
        token: &Token,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let path = format!("{}/rotate", key.path("keys"));
        let request = Request::post(&path, deadline)
            .namespace(&key.namespace)
            .token(token);
        self.send(&request).await.map(|_| ())
    }

    /// Reads the versions of the key.
    ///
    /// # Errors
    /// As [`CallError`].
    pub async fn key_versions(
        &self,
        key: &TransitKey,
        token: &Token,
        deadline: Instant,
    ) -> Result<KeyVersions, CallError> {
        let (info, all) = self.read_key_and_versions(key, token, deadline).await?;
        Ok(KeyVersions {
            latest: info.latest,
            all,
        })
    }
}
