//! The pages of what is stored: how many keys each is asked for, and what happens when their revision is compacted.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::window::{Page, Window, after};
use crate::etcd::connection::{CallError, Connection};
use crate::etcd::proto::{RangeRequest, RangeResponse};
use crate::etcd::scan::{Continued, Record, SourceError};

/// How many keys the first page of a resource has: how large its values are is not known.
const FIRST_LIMIT: u64 = 256;
/// The most keys of a page. etcd collects a page in memory, and a value has up to 1.5 MiB.
const MAX_LIMIT: u64 = 4_096;
/// How large a page should be, in bytes: up to four are in memory at one time.
const PAGE_BYTES: u64 = 4 * 1024 * 1024;

pub(super) type Sender = mpsc::Sender<Result<Vec<Record>, SourceError>>;

/// Gives one page after the other.
pub(super) struct Pages {
    connection: Arc<Connection>,
    window: Window,
    prefix_length: usize,
    /// The resource of the page before: the limit is made for its values.
    directory: Vec<u8>,
    limit: u64,
    /// 0 until the first page is there.
    revision: i64,
    is_over: bool,
    continued: Continued,
}

impl Pages {
    pub(super) fn new(connection: Arc<Connection>, prefix: &[u8], continued: Continued) -> Self {
        Self {
            connection,
            window: Window::of(prefix),
            prefix_length: prefix.len(),
            directory: Vec::new(),
            limit: FIRST_LIMIT,
            revision: 0,
            is_over: false,
            continued,
        }
    }

    /// The revision that was read last.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// The next page, which may be empty; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<RangeResponse>, SourceError> {
        if self.is_over {
            return Ok(None);
        }
        self.stay_in_directory();
        let answer = self.fetch().await?;
        let of = |pair: Option<&crate::etcd::proto::KeyValue>| pair.map(|pair| pair.key.clone());
        let (first, last) = (of(answer.kvs.first()), of(answer.kvs.last()));
        let page = Page {
            keys: first.as_deref().zip(last.as_deref()),
            length: answer.kvs.len() as u64,
            limit: self.limit,
            count: u64::try_from(answer.count).unwrap_or(0),
            has_more: answer.more,
        };
        self.is_over = !self.window.advance(page);
        if let Some(last) = last {
            self.directory = directory(&last, self.prefix_length).to_vec();
            self.adapt(&answer);
        }
        Ok(Some(answer))
    }

    /// Another resource may have larger values: what is asked for with a high limit ends with this one.
    fn stay_in_directory(&mut self) {
        if !self.window.range().0.starts_with(&self.directory) {
            self.limit = self.limit.min(FIRST_LIMIT);
        } else if self.limit > FIRST_LIMIT {
            self.window.confine(after(&self.directory));
        }
    }

    fn adapt(&mut self, answer: &RangeResponse) {
        let pairs = answer.kvs.iter();
        let bytes: usize = pairs.map(|pair| pair.key.len() + pair.value.len()).sum();
        let mean = (bytes / answer.kvs.len().max(1)).max(1) as u64;
        let (least, most) = ((self.limit / 4).max(1), (4 * self.limit).min(MAX_LIMIT));
        self.limit = (PAGE_BYTES / mean).clamp(least, most);
    }

    /// Asks for less until the answer is accepted, and at the newest revision where this one is compacted.
    async fn fetch(&mut self) -> Result<RangeResponse, SourceError> {
        loop {
            let (key, end) = self.window.range();
            let request = RangeRequest {
                key: key.to_vec().into(),
                range_end: end.to_vec().into(),
                limit: i64::try_from(self.limit).unwrap_or(i64::MAX),
                revision: self.revision,
                ..RangeRequest::default()
            };
            match self.connection.range(&request).await {
                Ok(answer) => {
                    self.note_revision(&answer);
                    return Ok(answer);
                }
                Err(CallError::TooLarge) if self.limit > 1 => self.limit /= 2,
                Err(CallError::Compacted) if self.revision != 0 => {
                    self.continued.set(self.revision);
                    self.revision = 0;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn note_revision(&mut self, answer: &RangeResponse) {
        if self.revision != 0 {
            return;
        }
        self.revision = answer.header.as_ref().map_or(0, |header| header.revision);
        if self.continued.at().is_some() {
            self.continued.set(self.revision);
        }
    }
}

/// The part of a key that names its resource: one directory below the prefix, two for a group.
fn directory(key: &[u8], prefix_length: usize) -> &[u8] {
    let rest = key.get(prefix_length..).unwrap_or_default();
    let slash = |from: &[u8]| from.iter().position(|byte| *byte == b'/');
    let Some(first) = slash(rest) else {
        return key;
    };
    let second = if rest[..first].contains(&b'.') {
        slash(&rest[first + 1..]).map_or(0, |second| second + 1)
    } else {
        0
    };
    &key[..prefix_length + first + second + 1]
}

/// The records of a page.
pub(super) fn records(answer: RangeResponse) -> Vec<Record> {
    let pairs = answer.kvs.into_iter();
    let records = pairs.map(|pair| Record {
        key: pair.key,
        value: pair.value,
        mod_revision: pair.mod_revision,
        is_current: true,
    });
    records.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_a_key_is_that_of_its_resource() {
        for (key, expected) in [
            ("/registry/secrets/default/a", "/registry/secrets/"),
            ("/registry/minions/a", "/registry/minions/"),
            (
                "/registry/example.org/widgets/default/a",
                "/registry/example.org/widgets/",
            ),
            ("/registry/odd", "/registry/odd"),
        ] {
            let found = directory(key.as_bytes(), "/registry/".len());
            assert_eq!(String::from_utf8_lossy(found), expected);
        }
    }
}
