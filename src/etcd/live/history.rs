//! What was replaced or deleted and is not compacted: etcd keeps it, and a backup of now contains it.
//!
//! There is no request for it, but a watch from the compaction on gives each event with the value before it
//! (`prev_kv`). So every value that is not current any more is in exactly one event.

use std::time::Duration;

use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tonic::{Status, Streaming};

use super::page::Sender;
use super::window::after;
use crate::diagnosis::Diagnosis;
use crate::etcd::connection::{CallError, Connection};
use crate::etcd::proto::watch_request::RequestUnion;
use crate::etcd::proto::{
    Event, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use crate::etcd::scan::{Record, SourceError};

/// How long to wait for events before etcd is asked how far it is.
const ASK_AFTER: Duration = Duration::from_millis(100);
/// How long etcd may send nothing: it reads the whole history before it sends its first part.
const SILENCE: Duration = Duration::from_secs(60);
/// How often a watch is opened again after it ended without an event in between.
const MAX_ATTEMPTS: usize = 5;

/// How a watch ended.
enum Ended {
    /// Every event up to the revision was seen, or nobody reads.
    Complete,
    /// The revisions before this one are compacted.
    Compacted(i64),
    /// It can be opened again.
    Failed(CallError),
}

/// Reads one history.
struct History<'a> {
    connection: &'a Connection,
    prefix: &'a [u8],
    /// The revision of the scan: later events are none of its business.
    until: i64,
    sender: &'a Sender,
    /// The first revision that is not yet complete.
    from: i64,
    /// The keys of that revision that were seen.
    seen: Vec<Bytes>,
}

/// Sends all records that are not current at a revision, and not compacted.
pub(super) async fn send(
    connection: &Connection,
    prefix: &[u8],
    until: i64,
    sender: &Sender,
) -> Result<(), SourceError> {
    let mut history = History {
        connection,
        prefix,
        until,
        sender,
        from: 1,
        seen: Vec::new(),
    };
    let mut attempts = 0;
    while history.from <= until {
        let before = history.from;
        let ended = history.watch().await;
        attempts = if history.from > before {
            0
        } else {
            attempts + 1
        };
        match ended {
            Ended::Complete => return Ok(()),
            Ended::Compacted(revision) => history.begin_after(revision),
            Ended::Failed(CallError::Transient(_)) if attempts < MAX_ATTEMPTS => {
                // Finds a member that answers.
                connection.range(&history.probe()).await?;
            }
            Ended::Failed(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl History<'_> {
    /// At a compacted revision itself the value before an event is gone.
    fn begin_after(&mut self, compacted: i64) {
        if compacted >= self.from {
            self.from = compacted + 1;
            self.seen.clear();
        }
    }

    fn probe(&self) -> crate::etcd::proto::RangeRequest {
        crate::etcd::proto::RangeRequest {
            key: self.prefix.to_vec().into(),
            keys_only: true,
            limit: 1,
            ..Default::default()
        }
    }

    async fn watch(&mut self) -> Ended {
        let (requests, receiver) = mpsc::channel(2);
        let create = RequestUnion::CreateRequest(WatchCreateRequest {
            key: self.prefix.to_vec().into(),
            range_end: after(self.prefix).into(),
            start_revision: self.from,
            prev_kv: true,
            fragment: true,
            ..WatchCreateRequest::default()
        });
        // The receiver is here.
        let _ = requests.try_send(request(create));
        match self.connection.watch(receiver).await {
            Ok(stream) => self.read(stream, &requests).await,
            Err(error) => Ended::Failed(error),
        }
    }

    async fn read(
        &mut self,
        mut stream: Streaming<WatchResponse>,
        requests: &mpsc::Sender<WatchRequest>,
    ) -> Ended {
        let mut heard = Instant::now();
        loop {
            let answer = match timeout(ASK_AFTER, stream.message()).await {
                Ok(Ok(Some(answer))) => answer,
                Ok(Ok(None)) => return self.failed(&Status::unavailable("the watch ended")),
                Ok(Err(status)) => return self.failed(&status),
                Err(_) if heard.elapsed() > SILENCE => return Ended::Failed(silent()),
                Err(_) => {
                    let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
                    // One that waits is enough.
                    let _ = requests.try_send(request(progress));
                    continue;
                }
            };
            heard = Instant::now();
            if let Some(ended) = self.take(answer).await {
                return ended;
            }
        }
    }

    fn failed(&self, status: &Status) -> Ended {
        Ended::Failed(self.connection.watch_error(status))
    }

    async fn take(&mut self, answer: WatchResponse) -> Option<Ended> {
        if answer.compact_revision > 0 {
            return Some(Ended::Compacted(answer.compact_revision));
        }
        if answer.canceled {
            let cause = format!("etcd ended the watch: {}", answer.cancel_reason);
            return Some(Ended::Failed(CallError::Final(cause.into())));
        }
        let revision = answer.header.map_or(0, |header| header.revision);
        if answer.events.is_empty() {
            // Of the answers without events only that to a progress request says what was sent.
            return (!answer.created && revision >= self.until).then_some(Ended::Complete);
        }
        let is_beyond = |event: &Event| {
            event
                .kv
                .as_ref()
                .is_some_and(|kv| kv.mod_revision > self.until)
        };
        let is_complete = answer.events.iter().any(is_beyond);
        let records: Vec<_> = answer
            .events
            .into_iter()
            .filter_map(|event| self.replaced(event))
            .collect();
        if !records.is_empty() && self.sender.send(Ok(records)).await.is_err() {
            return Some(Ended::Complete);
        }
        is_complete.then_some(Ended::Complete)
    }

    /// What an event replaced, if it is of the scan.
    fn replaced(&mut self, event: Event) -> Option<Record> {
        let kv = event.kv?;
        if kv.mod_revision > self.until || kv.mod_revision < self.from {
            return None;
        }
        if kv.mod_revision > self.from {
            self.from = kv.mod_revision;
            self.seen.clear();
        }
        if self.seen.contains(&kv.key) {
            return None;
        }
        self.seen.push(kv.key);
        let replaced = event.prev_kv?;
        Some(Record {
            key: replaced.key,
            value: replaced.value,
            mod_revision: replaced.mod_revision,
            is_current: false,
        })
    }
}

fn request(union: RequestUnion) -> WatchRequest {
    WatchRequest {
        request_union: Some(union),
    }
}

fn silent() -> CallError {
    let cause = Diagnosis::new(format!(
        "etcd has not sent its older revisions within {} s",
        SILENCE.as_secs()
    ));
    CallError::Transient(
        cause.with_remedy("try again when etcd has less to do; it has to be 3.5.8 or later"),
    )
}
