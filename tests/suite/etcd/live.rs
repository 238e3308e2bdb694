//! What is stored in a running etcd, at one revision.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::harness::forwarder::Forwarder;
use super::super::harness::kubernetes::Etcd;
use super::super::harness::servers::{Server, binary};
use super::*;

/// Large enough that a scan has many pages.
const VALUE: usize = 4096;

/// Writes this many keys, a hundred at a time. Returns the last revision.
pub(super) async fn fill(etcd: &Etcd, count: usize, size: usize) -> i64 {
    let mut revision = 0;
    let numbers: Vec<_> = (0..count).collect();
    for chunk in numbers.chunks(100) {
        let changes: Vec<_> = chunk
            .iter()
            .map(|n| (numbered(*n), Some(vec![b'a'; size])))
            .collect();
        revision = etcd.transaction(&changes).await;
    }
    revision
}

fn numbered(n: usize) -> Vec<u8> {
    key(&format!("secrets/ns-{}/s-{n}", n % 7))
}

async fn every_page_is_of_one_revision_whatever_is_written_meanwhile() {
    let etcd = Arc::new(Etcd::start().await);
    fill(&etcd, 3_000, VALUE).await;
    etcd.put(b"/registryx/secrets/a/b", b"of another prefix")
        .await;
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (etcd, is_over) = (Arc::clone(&etcd), Arc::clone(&is_over));
        async move {
            let mut n = 0;
            while !is_over.load(Ordering::Relaxed) {
                n += 1;
                let changed = numbered(fastrand::usize(..3_000));
                let new = key(&format!("secrets/new/n-{n}"));
                let deleted = numbered(n % 3_000);
                let mut changes = vec![(new, Some(b"new".to_vec())), (deleted.clone(), None)];
                if changed != deleted {
                    changes.push((changed, Some(vec![b'b'; VALUE])));
                }
                etcd.transaction(&changes).await;
            }
            n
        }
    });
    for _ in 0..3 {
        let mut scan = scan(&etcd.address()).await;
        let records = drain(&mut scan).await.unwrap();
        let (current, older) = parted(records);
        assert_eq!(scan.count, Some(current.len() as u64));
        assert_eq!(scan.continued.at(), None);
        let expected = etcd.range_at("/registry/", scan.revision).await;
        assert!(
            current == expected,
            "{} of {}",
            current.len(),
            expected.len()
        );
        assert!(
            older
                .iter()
                .all(|(_, _, revision)| *revision < scan.revision)
        );
    }
    is_over.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 10);
}

async fn a_scan_whose_revision_is_compacted_goes_on_at_a_later_one() {
    let etcd = Etcd::start().await;
    fill(&etcd, 6_000, VALUE).await;
    let mut scan = scan(&etcd.address()).await;
    let mut keys: Vec<_> = scan.pages.recv().await.unwrap().unwrap();
    let later = etcd
        .transaction(&[(key("zebras/z"), Some(b"z".to_vec()))])
        .await;
    etcd.compact(later).await;
    keys.extend(drain(&mut scan).await.unwrap());
    assert_eq!(scan.continued.at(), Some(later));
    assert!(scan.revision < later);
    let (current, older) = parted(keys);
    assert_eq!(older, []);
    assert!(current == etcd.range_at("/registry/", later).await);
}

async fn a_scan_survives_the_restart_of_etcd() {
    let etcd = Etcd::start().await;
    fill(&etcd, 6_000, VALUE).await;
    let mut scan = scan(&etcd.address()).await;
    let mut records: Vec<_> = scan.pages.recv().await.unwrap().unwrap();
    etcd.restart().await;
    records.extend(drain(&mut scan).await.unwrap());
    let (current, _) = parted(records);
    assert!(current == etcd.range_at("/registry/", scan.revision).await);
}

async fn each_endpoint_is_tried_until_one_answers() {
    let etcd = Etcd::start().await;
    fill(&etcd, 3_000, VALUE).await;
    let refused = super::super::harness::child::free_port();
    let forwarder = Forwarder::start(
        etcd.address()
            .strip_prefix("http://")
            .unwrap()
            .parse()
            .unwrap(),
    );
    let options = Options {
        endpoints: vec![
            format!("http://127.0.0.1:{refused}"),
            forwarder.address(),
            etcd.address(),
        ],
        ..Options::default()
    };
    let connection = Connection::open(&options, PREFIX).await.unwrap();
    assert_eq!(connection.label(), forwarder.address());
    let mut scan = source::scan(connection, PREFIX).await.unwrap();
    assert_eq!(scan.origin, format!("etcd at {}", forwarder.address()));
    drop(forwarder);
    let records = drain(&mut scan).await.unwrap();
    assert!(parted(records).0 == etcd.range_at("/registry/", scan.revision).await);
    // None answers.
    let options = Options {
        endpoints: vec![format!("http://127.0.0.1:{refused}")],
        ..Options::default()
    };
    let error = Connection::open(&options, PREFIX).await.unwrap_err();
    assert!(matches!(error, SourceError::Unavailable(_)));
    let text = text(&error);
    assert!(
        text.starts_with(&format!("http://127.0.0.1:{refused}: ")),
        "{text}"
    );
    assert!(
        text.contains("efused") && text.contains("check whether etcd runs there"),
        "{text}"
    );
}

async fn an_empty_etcd_gives_nothing() {
    let etcd = Etcd::start().await;
    let mut scan = scan(&etcd.address()).await;
    assert_eq!((scan.count, scan.revision), (Some(0), 1));
    assert_eq!(drain(&mut scan).await.unwrap(), []);
}

async fn authentication_of_etcd_is_named() {
    let etcd = Etcd::start().await;
    let endpoints = format!("--endpoints={}", etcd.address());
    for command in [
        "user add root:secret",
        "user grant-role root root",
        "auth enable",
    ] {
        let mut etcdctl = Command::new(binary(Server::Etcdctl));
        let output = etcdctl
            .arg(&endpoints)
            .args(command.split(' '))
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }
    let error = Connection::open(&options(&etcd.address()), PREFIX)
        .await
        .unwrap_err();
    assert!(matches!(error, SourceError::Invalid(_)));
    let text = text(&error);
    assert!(
        text.contains("etcd refused the request: ") && text.contains("its authentication is on"),
        "{text}"
    );
}

tests! {
    multi every_page_is_of_one_revision_whatever_is_written_meanwhile [Kubernetes];
    multi a_scan_whose_revision_is_compacted_goes_on_at_a_later_one [Kubernetes];
    multi a_scan_survives_the_restart_of_etcd [Kubernetes];
    multi each_endpoint_is_tried_until_one_answers [Kubernetes];
    multi authentication_of_etcd_is_named [Kubernetes, EtcdTools];
    multi an_empty_etcd_gives_nothing [Kubernetes];
}
