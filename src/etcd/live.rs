//! Reads a running etcd: what is stored at one revision, then the older revisions that are not compacted.

mod history;
mod page;
mod window;

use std::sync::Arc;

use tokio::sync::mpsc;

use super::connection::Connection;
use super::proto::RangeResponse;
use super::scan::{Continued, Scan, SourceError};
use page::{Pages, Sender, records};

/// How many pages wait for the reader; one more is being fetched, and the reader has one.
const WAITING_PAGES: usize = 1;

/// Reads all keys below a prefix such as `/registry`: first what is stored, then what was replaced or deleted since the
/// last compaction.
///
/// # Errors
/// If the first page cannot be had. Later errors come in place of a page.
pub async fn scan(connection: Connection, prefix: &str) -> Result<Scan, SourceError> {
    let prefix = format!("{}/", prefix.trim_end_matches('/'));
    let connection = Arc::new(connection);
    let continued = Continued::default();
    let mut pages = Pages::new(
        Arc::clone(&connection),
        prefix.as_bytes(),
        continued.clone(),
    );
    let first = pages.next().await?;
    let (sender, receiver) = mpsc::channel(WAITING_PAGES);
    let scan = Scan {
        origin: format!("etcd at {}", connection.label()),
        revision: pages.revision(),
        count: first
            .as_ref()
            .and_then(|page| u64::try_from(page.count).ok()),
        continued,
        pages: receiver,
    };
    tokio::spawn(async move {
        if let Err(error) = send_all(first, pages, &connection, &prefix, &sender).await {
            // The reader may be gone.
            let _ = sender.send(Err(error)).await;
        }
    });
    Ok(scan)
}

async fn send_all(
    first: Option<RangeResponse>,
    mut pages: Pages,
    connection: &Connection,
    prefix: &str,
    sender: &Sender,
) -> Result<(), SourceError> {
    let mut page = first;
    while let Some(answer) = page {
        if sender.send(Ok(records(answer))).await.is_err() {
            return Ok(());
        }
        page = pages.next().await?;
    }
    history::send(connection, prefix.as_bytes(), pages.revision(), sender).await
}
