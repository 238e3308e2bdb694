//! What a refresh logs. The candidate of a reload logs none of it.

use crate::reason::Reason;
use crate::telemetry::{StreakSummary, events};

/// An event to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::keys) enum LogEntry {
    VersionVerified {
        key_id: String,
    },
    RefreshFailed {
        reason: Reason,
        error: String,
    },
    Unusable {
        reason: Reason,
        error: String,
    },
    Replaced {
        reason: Reason,
        error: String,
        before: String,
        found: String,
    },
    ReplacementAccepted {
        before: String,
        key_id: String,
    },
    Recovered {
        ended: String,
        streak: Option<StreakSummary>,
    },
    LatestUnusable {
        reason: Reason,
        error: String,
        version: u32,
    },
    OlderReported {
        version: u32,
    },
    OlderDisproved {
        reported: u32,
        version: u32,
    },
    NoCanary {
        key_id: String,
    },
}

impl LogEntry {
    /// Logs it.
    pub(in crate::keys) fn emit(self) {
        match self {
            Self::VersionVerified { key_id } => events::VersionVerified { key_id }.emit(),
            Self::RefreshFailed { reason, error } => events::KeyRefreshFailed {
                reason_code: reason.code(),
                error,
            }
            .emit(),
            Self::Unusable { reason, error } => events::KeyUnusable {
                reason_code: reason.code(),
                error,
            }
            .emit(),
            Self::Replaced {
                reason,
                error,
                before,
                found,
            } => events::KeyReplaced {
                reason_code: reason.code(),
                error,
                before,
                found,
            }
            .emit(),
            Self::ReplacementAccepted { before, key_id } => {
                events::ReplacementAccepted { before, key_id }.emit();
            }
            Self::Recovered { ended, streak } => events::KeyRecovered {
                ended,
                failed: streak.map(|it| it.failed),
                lasted: streak.map(|it| it.lasted()),
            }
            .emit(),
            Self::LatestUnusable {
                reason,
                error,
                version,
            } => events::LatestUnusable {
                reason_code: reason.code(),
                error,
                version,
            }
            .emit(),
            Self::OlderReported { version } => events::Restored { version }.emit(),
            Self::OlderDisproved { reported, version } => {
                events::OlderDisproved { reported, version }.emit();
            }
            Self::NoCanary { key_id } => events::NoCanary { key_id }.emit(),
        }
    }
}
