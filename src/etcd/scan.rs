//! What a source of stored objects gives: pages of records, a few at a time, so that memory is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use prost::bytes::Bytes;
use tokio::sync::mpsc;

use crate::diagnosis::Diagnosis;

/// A value of etcd with the key that it is stored under.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Bytes,
    /// The value, which may be a plaintext: never printed.
    pub value: Bytes,
    /// The revision that wrote it.
    pub mod_revision: i64,
    /// Whether it is what a reader of the revision of the scan gets. Otherwise it was replaced or deleted since, and
    /// etcd keeps it until it is compacted.
    pub is_current: bool,
}

/// Why a source gives no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceError {
    /// It cannot be reached, or stopped answering: a later attempt may work.
    Unavailable(Diagnosis),
    /// It is not what it should be: a file that is no snapshot, a certificate that is missing.
    Invalid(Diagnosis),
}

/// A scan of one revision. The receiver of the pages ends after the last one.
#[derive(Debug)]
pub struct Scan {
    /// What is read, as an operator would name it.
    pub origin: String,
    /// The revision that current objects are those of.
    pub revision: i64,
    /// How many current objects there are, if that is known beforehand.
    pub count: Option<u64>,
    /// Whether the scan had to go on at a later revision.
    pub continued: Continued,
    /// The pages.
    pub pages: mpsc::Receiver<Result<Vec<Record>, SourceError>>,
}

/// The revision at which a scan went on because its own was compacted: kube-apiserver compacts every 5 minutes. What
/// is read from then on is of that revision; each key is still read once. Known when the pages have ended.
#[derive(Debug, Clone, Default)]
pub struct Continued(Arc<AtomicI64>);

impl Continued {
    /// The last of these revisions; `None` if all is of the revision of the scan.
    #[must_use]
    pub fn at(&self) -> Option<i64> {
        let revision = self.0.load(Ordering::Acquire);
        (revision != 0).then_some(revision)
    }

    /// Remembers such a revision.
    pub(super) fn set(&self, revision: i64) {
        self.0.store(revision, Ordering::Release);
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("key", &self.key)
            .field("value", &format_args!("{} bytes", self.value.len()))
            .field("mod_revision", &self.mod_revision)
            .field("is_current", &self.is_current)
            .finish()
    }
}
