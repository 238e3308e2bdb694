//! Reads an etcd or a snapshot as `vault-kmsctl` does, and prints how much that was, how long it took, and how much
//! memory: `etcd_scan http://127.0.0.1:2379` or `etcd_scan snapshot.db`. It decrypts nothing.
#![expect(clippy::unwrap_used, reason = "a measuring program")]

use std::io::{Write, stdout};
use std::path::Path;
use std::time::Instant;

use vault_kms_plugin::etcd::connection::{Connection, Options};
use vault_kms_plugin::etcd::scan::Scan;
use vault_kms_plugin::etcd::stored::Stored;
use vault_kms_plugin::etcd::{live, snapshot};

const PREFIX: &str = "/registry";

async fn open(source: &str) -> Scan {
    if !source.contains("://") {
        return snapshot::scan(Path::new(source), PREFIX).await.unwrap();
    }
    let options = Options {
        endpoints: vec![source.to_owned()],
        ..Options::default()
    };
    let connection = Connection::open(&options, PREFIX).await.unwrap();
    live::scan(connection, PREFIX).await.unwrap()
}

/// The most memory that this process ever had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::main]
async fn main() {
    let source = std::env::args().nth(1).expect("an address or a file");
    let start = Instant::now();
    let mut scan = open(&source).await;
    let (mut current, mut older, mut bytes, mut damaged) = (0_u64, 0_u64, 0_u64, 0_u64);
    while let Some(page) = scan.pages.recv().await {
        for record in page.unwrap() {
            if record.is_current {
                current += 1;
            } else {
                older += 1;
            }
            bytes += (record.key.len() + record.value.len()) as u64;
            damaged += u64::from(Stored::parse(&record.value).is_err());
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let (revision, origin, peak) = (scan.revision, &scan.origin, peak());
    let mut out = stdout().lock();
    let _ = writeln!(
        out,
        "{origin}: revision {revision}, {current} current, {older} older, {damaged} of no known form, {bytes} bytes, \
         {seconds:.2} s, {peak} KiB"
    );
}
