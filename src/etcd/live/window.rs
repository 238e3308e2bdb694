//! Which range a page is asked for. Pure.
//!
//! For every answer etcd visits all keys of the range that it was asked for, whatever the limit (`treeIndex.Revisions`),
//! under a lock that writers wait for. To read a million keys to their end, page by page, would be a quarter of a
//! billion visits. So a page is asked for in a window: the keys that begin as the next one does, as far as it takes to
//! have a few pages of them.

/// A window with more pages than this is narrowed.
const MAX_PAGES: u64 = 8;
/// A window with less than this part of a page is followed by one that is wider by more than a byte.
const ALMOST_NOTHING: u64 = 8;

/// Where the next page begins, and where its window ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// The first key of the next page.
    next: Vec<u8>,
    /// The end of this window; not part of it.
    end: Vec<u8>,
    /// The end of all.
    last: Vec<u8>,
    /// How many keys of this window were read.
    yielded: u64,
    /// How much shorter the prefix of a wider window is, in bytes.
    step: usize,
}

/// What a page was like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    /// Its first and last key; `None` if it is empty.
    pub(super) keys: Option<(&'a [u8], &'a [u8])>,
    /// How many keys it has.
    pub(super) length: u64,
    /// How many it could have.
    pub(super) limit: u64,
    /// How many the window had when it was read.
    pub(super) count: u64,
    /// Whether the window has more.
    pub(super) has_more: bool,
}

impl Window {
    /// All keys that begin with this prefix; all there are if it is empty.
    pub(super) fn of(prefix: &[u8]) -> Self {
        let end = after(prefix);
        Self {
            next: if prefix.is_empty() {
                vec![0]
            } else {
                prefix.to_vec()
            },
            last: end.clone(),
            end,
            yielded: 0,
            step: 1,
        }
    }

    /// The range of the next page.
    pub(super) fn range(&self) -> (&[u8], &[u8]) {
        (&self.next, &self.end)
    }

    /// Goes on after a page. Returns false if it was the last.
    pub(super) fn advance(&mut self, page: Page<'_>) -> bool {
        self.yielded += page.length;
        match page.keys {
            Some((first, last)) if page.has_more => {
                self.next = [last, &[0]].concat();
                if page.count > MAX_PAGES * page.limit {
                    self.narrow(first, last);
                }
                true
            }
            _ => self.leave(page.limit),
        }
    }

    /// Ends the window where keys begin otherwise than the last one does, one byte beyond what the page has in common.
    fn narrow(&mut self, first: &[u8], last: &[u8]) {
        let common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let prefix = &last[..last.len().min(common + 1)];
        let end = after(prefix);
        if is_before(&end, &self.end) {
            self.end = end;
            self.yielded = 0;
            self.step = 1;
        }
    }

    /// Ends the window here, if it does not end before.
    pub(super) fn confine(&mut self, end: Vec<u8>) {
        if is_before(&end, &self.end) {
            self.end = end;
        }
    }

    /// Begins the next window where this one ends; a wider one if this one had less than a page.
    fn leave(&mut self, limit: u64) -> bool {
        if self.end == self.last {
            return false;
        }
        self.next = self.end.clone();
        let step = if self.yielded < limit { self.step } else { 0 };
        self.step = if self.yielded * ALMOST_NOTHING < limit {
            2 * self.step
        } else {
            1
        };
        let depth = self.next.len().saturating_sub(step);
        self.end.clone_from(&self.last);
        self.confine(after(&self.next[..depth]));
        self.yielded = 0;
        true
    }
}

/// The first key that is after all that begin with this prefix; `\0` is etcd's for "no end".
pub(super) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// Whether an end is before another one.
fn is_before(end: &[u8], other: &[u8]) -> bool {
    match (end, other) {
        ([0], _) => false,
        (_, [0]) => true,
        (end, other) => end < other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all keys of a list page by page; how many keys etcd visits for it, and in how many requests.
    fn read(keys: &[String], prefix: &str, limit: usize) -> (Vec<String>, usize, usize) {
        let mut window = Window::of(prefix.as_bytes());
        let (mut read, mut visits, mut requests) = (Vec::new(), 0, 0);
        loop {
            let (next, end) = window.range();
            let from = keys.partition_point(|key| key.as_bytes() < next);
            let to = match end {
                [0] => keys.len(),
                end => keys.partition_point(|key| key.as_bytes() < end),
            };
            let found = &keys[from..to];
            let page = &found[..found.len().min(limit)];
            (visits, requests) = (visits + found.len(), requests + 1);
            read.extend_from_slice(page);
            let bytes = |key: Option<&String>| key.map(|key| key.as_bytes().to_vec());
            let (first, last) = (bytes(page.first()), bytes(page.last()));
            let page = Page {
                keys: first.as_deref().zip(last.as_deref()),
                length: page.len() as u64,
                limit: limit as u64,
                count: found.len() as u64,
                has_more: found.len() > limit,
            };
            if !window.advance(page) {
                return (read, visits, requests);
            }
        }
    }

    fn sorted(keys: impl Iterator<Item = String>) -> Vec<String> {
        let mut keys: Vec<_> = keys.collect();
        keys.sort();
        keys
    }

    #[test]
    fn every_key_is_read_once_with_few_visits() {
        let numbered = sorted((0..100_000).map(|n| format!("/registry/secrets/ns/s-{n}")));
        let padded = sorted((0..100_000).map(|n| format!("/registry/secrets/ns-1/s-{n:06}")));
        let many =
            sorted((0..100_000).map(|n| format!("/registry/secrets/ns-{}/s-{n}", n % 7_000)));
        let mixed = sorted((0..100_000).map(|n| match n % 3 {
            0 => format!("/registry/events/a/{n:x}"),
            1 => format!("/registry/zebras.example.org/zebras/{n}"),
            _ => format!("/registry/leases/{}/{n:b}", n % 5),
        }));
        for (name, keys) in [
            ("numbered", numbered),
            ("padded", padded),
            ("many", many),
            ("mixed", mixed),
        ] {
            let (all, visits, requests) = read(&keys, "/registry/", 500);
            assert!(all == keys, "{name}");
            // 200 full pages without a window are 10,000,000 visits.
            assert!(visits < 1_000_000, "{name}: {visits} visits");
            assert!(requests < 600, "{name}: {requests} requests");
        }
    }

    #[test]
    fn keys_of_any_bytes_are_read_once() {
        let keys = sorted((0..3_000_u32).map(|n| {
            let char = |n: u32| char::from_u32(n * 97 % 0x7ff).unwrap_or('x');
            format!("{}{}{}", char(n), char(n / 7), char(n / 3))
        }));
        let mut keys = keys;
        keys.dedup();
        for limit in [1, 3, 100, 5_000] {
            let (all, _, _) = read(&keys, "", limit);
            assert!(all == keys, "{limit}");
        }
        assert_eq!(after(b"a\xff\xff"), b"b");
        assert_eq!(after(b"\xff"), b"\0");
    }
}
