//! Snapshots and copies of the database, read without etcd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::super::LIMIT;
use super::super::harness::kubernetes::Etcd;
use super::super::harness::servers::{Server, binary};
use super::super::harness::wait;
use super::history;
use super::*;

fn save(etcd: &Etcd, dir: &TempDir) -> PathBuf {
    let path = dir.path().join("snapshot.db");
    let mut etcdctl = Command::new(binary(Server::Etcdctl));
    let endpoints = format!("--endpoints={}", etcd.address());
    let output = etcdctl
        .args([&endpoints, "snapshot", "save"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    path
}

async fn a_snapshot_has_what_etcd_had() {
    let etcd = Etcd::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (log, last) = history::write(&etcd, 200).await;
    for compacted in [0, last / 2, last] {
        if compacted > 0 {
            etcd.compact(compacted).await;
        }
        let mut live = scan(&etcd.address()).await;
        let live_records = parted(drain(&mut live).await.unwrap());
        let (revision, records) = all_of_snapshot(&save(&etcd, &dir)).await.unwrap();
        assert_eq!(revision, live.revision);
        let (current, older) = parted(records);
        assert!(current == log.current(), "{compacted}");
        assert!(
            older == log.readable(compacted),
            "{compacted}: {}",
            older.len()
        );
        assert!((current, older) == live_records);
    }
}

async fn a_copy_of_the_database_is_read_and_one_in_use_is_not() {
    let etcd = Etcd::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = history::write(&etcd, 50).await;
    super::live::fill(&etcd, 1_000, 2_000).await;
    let error = all_of_snapshot(&etcd.database()).await.unwrap_err();
    assert!(
        text(&error).contains("is in use by a running etcd"),
        "{}",
        text(&error)
    );
    // etcd writes its database every 100 ms, and again what is only in its log after a restart.
    let copy = dir.path().join("db");
    let expected = log.current().len() + 1_000;
    let (current, older) = wait::until("all of it in the database", LIMIT, async || {
        etcd.restart().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        etcd.kill();
        fs::copy(etcd.database(), &copy).unwrap();
        let (_, records) = all_of_snapshot(&copy).await.unwrap();
        Some(parted(records)).filter(|(current, _)| current.len() == expected)
    })
    .await;
    assert!(older == log.readable(0));
    assert_eq!(current.len(), expected);
}

async fn damage_is_an_error_and_says_what_to_do() {
    let etcd = Etcd::start().await;
    let dir = tempfile::tempdir().unwrap();
    history::write(&etcd, 100).await;
    let whole = fs::read(save(&etcd, &dir)).unwrap();
    let path = dir.path().join("damaged.db");
    let error = async |content: &[u8]| {
        fs::write(&path, content).unwrap();
        let error = all_of_snapshot(&path).await.unwrap_err();
        assert!(matches!(error, SourceError::Invalid(_)));
        let text = text(&error);
        assert!(
            text.starts_with(&format!("snapshot {}: ", path.display())),
            "{text}"
        );
        text
    };
    let mut changed = whole.clone();
    changed[20_000] ^= 1;
    assert!(error(&changed).await.contains("SHA-256 at its end"));
    let half = error(&whole[..whole.len() / 2 / 4096 * 4096]).await;
    assert!(half.contains("it is cut off: it has"), "{half}");
    assert!(half.contains("etcdctl snapshot save"), "{half}");
    assert!(error(&whole[..100]).await.contains("cut off"));
    assert!(error(b"").await.contains("too short"));
    assert!(error(b"apiVersion: v1\n").await.contains("too short"));
    assert!(error(&[7; 10_000]).await.contains("no database of etcd"));
    assert!(
        error(&[&[0x1f, 0x8b][..], &[0; 500]].concat())
            .await
            .contains("gunzip it first")
    );
    let missing = all_of_snapshot(Path::new("/missing.db")).await.unwrap_err();
    assert!(
        text(&missing).contains("cannot be opened") && text(&missing).contains("correct the path")
    );
    let directory = all_of_snapshot(dir.path()).await.unwrap_err();
    assert!(text(&directory).contains("is not a regular file"));
}

async fn a_database_that_is_copied_while_it_is_written_is_an_error_or_whole() {
    let etcd = Etcd::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = history::write(&etcd, 100).await;
    let path = dir.path().join("copy.db");
    for n in 0..20 {
        let value = Some(vec![n; 100_000]);
        etcd.transaction(&[(key(&format!("configmaps/default/c-{n}")), value)])
            .await;
        fs::copy(etcd.database(), &path).unwrap();
        match all_of_snapshot(&path).await {
            Ok((_, records)) => {
                assert!(records.len() <= log.current().len() + log.readable(0).len() + 20)
            }
            Err(error) => assert!(
                text(&error).contains("etcdctl snapshot save"),
                "{}",
                text(&error)
            ),
        }
    }
}

/// The same for bytes in memory, so that many can be tried.
async fn no_change_of_a_real_snapshot_is_more_than_an_error() {
    let etcd = Etcd::start().await;
    let dir = tempfile::tempdir().unwrap();
    super::live::fill(&etcd, 1_500, 100).await;
    let whole = fs::read(save(&etcd, &dir)).unwrap();
    let whole = &whole[..whole.len() - 32];
    let (revision, records) = file::read(whole, PREFIX).unwrap();
    assert_eq!((revision, records.len()), (16, 1_500));
    let mut random = fastrand::Rng::with_seed(18);
    let pages = whole.len() / 4096;
    for _ in 0..1_000 {
        let mut changed = whole.to_vec();
        for _ in 0..random.usize(1..5) {
            // The headers of pages and the first elements matter most.
            let at = 4096 * random.usize(..pages) + random.usize(..64);
            changed[at] = if random.bool() {
                random.u8(..)
            } else {
                random.u8(..4)
            };
        }
        if let Ok((_, records)) = file::read(&changed, PREFIX) {
            assert!(records.len() <= 1_500);
        }
    }
}

tests! {
    multi a_snapshot_has_what_etcd_had [Kubernetes, EtcdTools];
    multi a_copy_of_the_database_is_read_and_one_in_use_is_not [Kubernetes];
    multi damage_is_an_error_and_says_what_to_do [Kubernetes, EtcdTools];
    multi no_change_of_a_real_snapshot_is_more_than_an_error [Kubernetes, EtcdTools];
    multi a_database_that_is_copied_while_it_is_written_is_an_error_or_whole [Kubernetes];
}
