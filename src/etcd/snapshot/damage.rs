//! What is wrong with a snapshot.

use std::io;

use crate::diagnosis::Diagnosis;

/// A file that is no snapshot, or a damaged one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    cause: String,
    remedy: &'static str,
}

/// Also what helps where the database of a running etcd was copied while it was written.
const AGAIN: &str = "take another one with `etcdctl snapshot save`: a copy of the database of a running etcd is none";

impl Damage {
    /// Of something in the file.
    pub(super) fn new(cause: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            remedy: AGAIN,
        }
    }

    /// Of a page.
    pub(super) fn page(id: u64, cause: &str) -> Self {
        Self::new(format!("page {id} is damaged: {cause}"))
    }

    /// Where another snapshot would not help.
    pub(super) fn with_remedy(cause: impl Into<String>, remedy: &'static str) -> Self {
        Self {
            cause: cause.into(),
            remedy,
        }
    }

    /// Of reading.
    pub(super) fn read(error: &io::Error) -> Self {
        Self::with_remedy(
            format!("cannot be read: {error}"),
            "check the disk, or copy the file again",
        )
    }

    /// Cause and remedy.
    pub(super) fn into_diagnosis(self) -> Diagnosis {
        Diagnosis::new(self.cause).with_remedy(self.remedy)
    }
}
