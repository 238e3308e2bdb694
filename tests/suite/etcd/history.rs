//! The older revisions: what was replaced or deleted, and is not compacted.

use std::collections::BTreeMap;

use super::super::harness::kubernetes::Etcd;
use super::*;

/// What was written: every value with its revision, and when it was replaced or deleted.
#[derive(Default)]
pub(super) struct Log {
    current: BTreeMap<Vec<u8>, (Vec<u8>, i64)>,
    /// Key, value, its revision, and the one that replaced it.
    replaced: Vec<(Written, i64)>,
}

impl Log {
    async fn change(&mut self, etcd: &Etcd, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> i64 {
        let revision = etcd.transaction(&changes).await;
        for (key, value) in changes {
            let before = match value {
                Some(value) => self.current.insert(key.clone(), (value, revision)),
                None => self.current.remove(&key),
            };
            if let Some((value, written)) = before {
                self.replaced.push(((key, value, written), revision));
            }
        }
        revision
    }

    /// What can still be read after a compaction at this revision.
    pub(super) fn readable(&self, compacted: i64) -> Vec<Written> {
        let readable = self
            .replaced
            .iter()
            .filter(|(_, replaced)| *replaced > compacted);
        let mut all: Vec<_> = readable.map(|(written, _)| written.clone()).collect();
        all.sort_by(|a, b| (&a.0, a.2).cmp(&(&b.0, b.2)));
        all
    }

    pub(super) fn current(&self) -> Vec<Written> {
        let current = self.current.iter();
        current
            .map(|(key, (value, revision))| (key.clone(), value.clone(), *revision))
            .collect()
    }
}

/// Keys that are changed, deleted and made again at random, some at one revision. Returns the last one too.
pub(super) async fn write(etcd: &Etcd, changes: usize) -> (Log, i64) {
    let mut log = Log::default();
    let mut random = fastrand::Rng::with_seed(7);
    let mut revision = 0;
    for n in 0..changes {
        let mut changed = BTreeMap::new();
        for _ in 0..random.usize(1..20) {
            let name = key(&format!("secrets/default/s-{}", random.usize(..50)));
            let value = format!("value {n} {}", "x".repeat(random.usize(..5_000)));
            let is_deletion = random.usize(..4) == 0;
            changed.insert(name, (!is_deletion).then(|| value.into_bytes()));
        }
        revision = log.change(etcd, changed.into_iter().collect()).await;
    }
    (log, revision)
}

async fn every_value_that_was_replaced_or_deleted_is_given_once() {
    let etcd = Etcd::start().await;
    let (log, last) = write(&etcd, 200).await;
    let mut whole = scan(&etcd.address()).await;
    let (current, older) = parted(drain(&mut whole).await.unwrap());
    assert!(current == log.current());
    assert_eq!(older.len(), log.replaced.len());
    assert!(older == log.readable(0));
    // What was replaced up to the compaction cannot be read any more.
    for compacted in [last / 3, last / 2, last - 1] {
        etcd.compact(compacted).await;
        let mut part = scan(&etcd.address()).await;
        let (current, older) = parted(drain(&mut part).await.unwrap());
        assert!(current == log.current(), "{compacted}");
        assert!(
            older == log.readable(compacted),
            "{compacted}: {} of {}",
            older.len(),
            log.readable(compacted).len()
        );
    }
    etcd.compact(last).await;
    let mut rest = scan(&etcd.address()).await;
    let (current, older) = parted(drain(&mut rest).await.unwrap());
    assert!(current == log.current());
    assert_eq!(older.len(), 0);
}

async fn a_history_of_many_large_values_comes_in_parts() {
    let etcd = Etcd::start().await;
    let size = 1024 * 1024;
    for n in 0..40_u8 {
        etcd.transaction(&[(key("secrets/default/large"), Some(vec![n; size]))])
            .await;
    }
    let mut scan = scan(&etcd.address()).await;
    let mut largest = 0;
    let mut all = Vec::new();
    while let Some(page) = scan.pages.recv().await {
        let page = page.unwrap();
        largest = largest.max(page.iter().map(|record| record.value.len()).sum());
        all.extend(page);
    }
    let (current, older) = parted(all);
    assert_eq!((current.len(), older.len()), (1, 39));
    let numbers: Vec<_> = older.iter().map(|(_, value, _)| value[0]).collect();
    assert_eq!(numbers, (0..39).collect::<Vec<_>>());
    assert!(largest <= 4 * size, "{largest} bytes in one part");
}

tests! {
    multi every_value_that_was_replaced_or_deleted_is_given_once [Kubernetes];
    multi a_history_of_many_large_values_comes_in_parts [Kubernetes];
}
