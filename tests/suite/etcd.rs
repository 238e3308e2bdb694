//! Where stored values are read from: a running etcd and its snapshots, and the values themselves as kube-apiserver's
//! own code writes them.

mod figures;
mod history;
mod live;
mod snapshot;
mod tls;
mod values;

use std::path::Path;

use vault_kms_plugin::etcd::connection::{Connection, Options};
use vault_kms_plugin::etcd::scan::{Record, Scan, SourceError};
use vault_kms_plugin::etcd::{live as source, snapshot as file};

const PREFIX: &str = "/registry";

/// A key and a value with the revision that wrote it.
type Written = (Vec<u8>, Vec<u8>, i64);

fn options(address: &str) -> Options {
    Options {
        endpoints: vec![address.to_owned()],
        ..Options::default()
    }
}

async fn open(address: &str) -> Connection {
    Connection::open(&options(address), PREFIX).await.unwrap()
}

async fn scan(address: &str) -> Scan {
    source::scan(open(address).await, PREFIX).await.unwrap()
}

/// All that a scan gives; its error if it ends with one.
async fn drain(scan: &mut Scan) -> Result<Vec<Record>, SourceError> {
    let mut all = Vec::new();
    while let Some(page) = scan.pages.recv().await {
        all.extend(page?);
    }
    Ok(all)
}

/// The current records, and the older ones, each sorted by key and revision.
fn parted(records: Vec<Record>) -> (Vec<Written>, Vec<Written>) {
    let (current, older) = records
        .into_iter()
        .partition::<Vec<_>, _>(|record| record.is_current);
    (sorted(current), sorted(older))
}

fn sorted(records: Vec<Record>) -> Vec<Written> {
    let written = |record: Record| {
        (
            record.key.to_vec(),
            record.value.to_vec(),
            record.mod_revision,
        )
    };
    let mut all: Vec<_> = records.into_iter().map(written).collect();
    all.sort_by(|a, b| (&a.0, a.2).cmp(&(&b.0, b.2)));
    all
}

async fn all_of_snapshot(path: &Path) -> Result<(i64, Vec<Record>), SourceError> {
    let mut scan = file::scan(path, PREFIX).await?;
    let records = drain(&mut scan).await?;
    Ok((scan.revision, records))
}

/// Cause and remedy.
fn text(error: &SourceError) -> String {
    let (SourceError::Unavailable(diagnosis) | SourceError::Invalid(diagnosis)) = error;
    diagnosis.to_string()
}

fn key(name: &str) -> Vec<u8> {
    format!("{PREFIX}/{name}").into_bytes()
}

tests! {
    [figures, history, live, snapshot, tls, values]
}
