//! The outcome of the last reload, for `status` and the line of `systemctl status`.

use jiff::Timestamp;
use serde::Serialize;

/// A reload that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReloadStatus {
    /// When it ended.
    pub at: Timestamp,
    /// Why it was refused; absent if it was applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl ReloadStatus {
    /// One that ends now.
    #[must_use]
    pub fn now(refused: Option<String>) -> Self {
        let at = Timestamp::now();
        Self { at, refused }
    }
}
