//! The revisions of etcd in a database: which of them are current, older, or compacted.

use std::collections::HashSet;

use prost::Message;
use prost::bytes::Bytes;

use super::bucket::Cursor;
use super::damage::Damage;
use super::database::{Database, ReadAt};
use super::page::Entry;
use crate::etcd::proto::KeyValue;
use crate::etcd::scan::Record;
use crate::sha256::sha256;

/// `server/storage/schema/bucket.go`.
const KEYS: &[u8] = b"key";
const META: &[u8] = b"meta";
const COMPACTIONS: [&[u8]; 2] = [b"scheduledCompactRev", b"finishedCompactRev"];
/// `server/storage/mvcc/revision.go`: 8 bytes, `_`, 8 bytes; then `t` for a deletion.
const REVISION: usize = 17;
const SEPARATOR: u8 = b'_';
const TOMBSTONE: u8 = b't';

/// Gives what is stored, from the newest revision to the oldest.
pub(super) struct Revisions<'a, S> {
    cursor: Cursor<'a, S>,
    prefix: Vec<u8>,
    /// What was read ahead to know the revision.
    first: Option<Entry>,
    revision: i64,
    compacted: i64,
    /// The keys that were seen after the compaction, and those that were seen at it or before.
    newer: HashSet<u128>,
    older: HashSet<u128>,
}

/// The key of an entry.
struct Revision {
    main: i64,
    is_tombstone: bool,
}

impl<'a, S: ReadAt> Revisions<'a, S> {
    /// Of the keys that begin with this prefix.
    pub(super) fn of(database: &'a Database<S>, prefix: &[u8]) -> Result<Self, Damage> {
        let Some(mut cursor) = Cursor::bucket(database, KEYS)? else {
            return Err(Damage::with_remedy(
                "it is no database of etcd: it has no bucket of keys",
                "name a file that `etcdctl snapshot save` has written, or a copy of member/snap/db",
            ));
        };
        let compacted = compaction(database)?;
        let first = cursor.next()?;
        let newest = first
            .as_ref()
            .map(|entry| Revision::parse(&entry.key))
            .transpose()?;
        Ok(Self {
            cursor,
            prefix: prefix.to_vec(),
            // A deletion may have been compacted away.
            revision: newest.map_or(1, |newest| newest.main).max(compacted),
            first,
            compacted,
            newer: HashSet::new(),
            older: HashSet::new(),
        })
    }

    /// The newest revision.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// The next record; `None` after the oldest.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Damage> {
        loop {
            let entry = match self.first.take() {
                Some(first) => first,
                None => match self.cursor.next()? {
                    Some(entry) => entry,
                    None => return Ok(None),
                },
            };
            let revision = Revision::parse(&entry.key)?;
            let value = KeyValue::decode(entry.value);
            let value = value.map_err(|error| {
                Damage::new(format!(
                    "the value of revision {} is damaged: {error}",
                    revision.main
                ))
            })?;
            if value.key.starts_with(&self.prefix)
                && let Some(is_current) = self.is_current(&value.key, &revision)
            {
                return Ok(Some(Record {
                    key: value.key,
                    value: value.value,
                    mod_revision: revision.main,
                    is_current,
                }));
            }
        }
    }

    /// Whether a value is current; `None` if nobody can read it: it is a deletion, or compacted and not yet removed.
    fn is_current(&mut self, key: &Bytes, revision: &Revision) -> Option<bool> {
        let hash = shortened(sha256(key));
        let (is_first, is_known) = if revision.main > self.compacted {
            let is_first = self.newer.insert(hash);
            (is_first, true)
        } else {
            // What was replaced up to the compaction cannot be read at any revision after it.
            (!self.newer.contains(&hash), self.older.insert(hash))
        };
        (is_known && !revision.is_tombstone).then_some(is_first)
    }
}

impl Revision {
    fn parse(key: &[u8]) -> Result<Self, Damage> {
        let damaged = || Damage::new("a key of the bucket of keys is no revision");
        let main = key.first_chunk().ok_or_else(damaged)?;
        let is_tombstone = match key.get(REVISION..) {
            Some([]) => false,
            Some([TOMBSTONE]) => true,
            _ => return Err(damaged()),
        };
        let main = i64::from_be_bytes(*main);
        if key[8] != SEPARATOR || main < 0 {
            return Err(damaged());
        }
        Ok(Self { main, is_tombstone })
    }
}

/// The last compaction; 0 if there was none. One that is only scheduled is finished when etcd starts.
fn compaction<S: ReadAt>(database: &Database<S>) -> Result<i64, Damage> {
    let mut last = 0;
    let Some(mut meta) = Cursor::bucket(database, META)? else {
        return Ok(last);
    };
    while let Some(entry) = meta.next()? {
        if COMPACTIONS.contains(&&*entry.key) && !entry.value.is_empty() {
            last = last.max(Revision::parse(&entry.value)?.main);
        }
    }
    Ok(last)
}

/// Enough that two keys never meet, and few enough for millions.
fn shortened(hash: [u8; 32]) -> u128 {
    hash.first_chunk()
        .map_or(0, |bytes| u128::from_le_bytes(*bytes))
}
