//! Reads a snapshot of etcd, or a copy of its database, without etcd.
//!
//! Both are a database of bbolt; `etcdctl snapshot save` appends its SHA-256. The bucket `key` has every revision that
//! is not compacted, which the newest first makes current and older ones easy to tell apart.

mod bucket;
mod damage;
mod database;
mod file;
mod page;
mod revisions;

use std::path::Path;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::scan::{Continued, Record, Scan, SourceError};
use crate::diagnosis::Diagnosis;
use damage::Damage;
use database::{Database, ReadAt};
use revisions::Revisions;

/// How many pages wait for the reader.
const WAITING_PAGES: usize = 2;
/// How large a page should be, in bytes, and how many records it has at most.
const PAGE_BYTES: usize = 1024 * 1024;
const PAGE_RECORDS: usize = 4_096;

type Pages = mpsc::Sender<Result<Vec<Record>, SourceError>>;

/// Reads all keys below a prefix such as `/registry`, the newest revisions first.
///
/// # Errors
/// If the file cannot be read, is no database of etcd, is in use, is cut, or does not have its own SHA-256. Damage that
/// is met later comes in place of a page.
pub async fn scan(path: &Path, prefix: &str) -> Result<Scan, SourceError> {
    let origin = format!("snapshot {}", path.display());
    let prefix = format!("{}/", prefix.trim_end_matches('/'));
    let (opened, is_open) = oneshot::channel();
    let (sender, pages) = mpsc::channel(WAITING_PAGES);
    let path = path.to_owned();
    spawn_blocking(move || run(&path, prefix.as_bytes(), opened, &sender));
    let Ok(revision) = is_open.await else {
        let cause = Diagnosis::new("reading ended unexpectedly: report it").about(origin);
        return Err(SourceError::Unavailable(cause));
    };
    Ok(Scan {
        origin,
        revision: revision?,
        count: None,
        continued: Continued::default(),
        pages,
    })
}

/// Reads a database in memory as [`scan`] reads a file.
///
/// # Errors
/// What is wrong with it.
pub fn read(database: &[u8], prefix: &str) -> Result<(i64, Vec<Record>), Diagnosis> {
    let prefix = format!("{}/", prefix.trim_end_matches('/'));
    let database = Database::open(database).map_err(Damage::into_diagnosis)?;
    let revisions = Revisions::of(&database, prefix.as_bytes());
    let mut revisions = revisions.map_err(Damage::into_diagnosis)?;
    let mut records = Vec::new();
    while let Some(record) = revisions.next().map_err(Damage::into_diagnosis)? {
        records.push(record);
    }
    Ok((revisions.revision(), records))
}

fn run(
    path: &Path,
    prefix: &[u8],
    opened: oneshot::Sender<Result<i64, SourceError>>,
    sender: &Pages,
) {
    let invalid = |damage: Damage| {
        let subject = format!("snapshot {}", path.display());
        SourceError::Invalid(damage.into_diagnosis().about(subject))
    };
    let database = match file::open(path).and_then(Database::open) {
        Ok(database) => database,
        Err(damage) => return drop(opened.send(Err(invalid(damage)))),
    };
    let revisions = match Revisions::of(&database, prefix) {
        Ok(revisions) => revisions,
        Err(damage) => return drop(opened.send(Err(invalid(damage)))),
    };
    // Whoever wanted to know may be gone.
    if opened.send(Ok(revisions.revision())).is_ok() {
        let error = send_all(revisions, sender).err();
        drop(error.map(|damage| sender.blocking_send(Err(invalid(damage)))));
    }
}

fn send_all<S: ReadAt>(mut revisions: Revisions<'_, S>, sender: &Pages) -> Result<(), Damage> {
    loop {
        let (mut page, mut bytes) = (Vec::new(), 0);
        while bytes < PAGE_BYTES && page.len() < PAGE_RECORDS {
            let Some(record) = revisions.next()? else {
                break;
            };
            bytes += record.key.len() + record.value.len();
            page.push(record);
        }
        if page.is_empty() || sender.blocking_send(Ok(page)).is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
