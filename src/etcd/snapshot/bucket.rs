//! A bucket of bbolt: a tree of pages, from its last key to its first.

use prost::bytes::Bytes;

use super::damage::Damage;
use super::database::{Database, ReadAt};
use super::page::{Entry, Page, Words};

/// A tree of this depth would have more pages than there are bytes on earth.
const MAX_DEPTH: usize = 32;
/// What the value of a bucket begins with: the number of its page, and a sequence.
const BUCKET_HEADER: usize = 16;

/// Goes through a bucket backwards.
///
/// Ends whatever the pages say: only an empty bucket may have a page without elements, and each key has to be before
/// the last one, so that no page is of use twice.
pub(super) struct Cursor<'a, S> {
    database: &'a Database<S>,
    /// The pages from the root on, and how many elements of each are left.
    path: Vec<(Page, usize)>,
    last_key: Option<Bytes>,
}

impl<'a, S: ReadAt> Cursor<'a, S> {
    /// Through the bucket of buckets.
    fn root(database: &'a Database<S>) -> Result<Self, Damage> {
        Ok(Self::at(database, database.page(database.root())?))
    }

    /// Through the bucket of this name; `None` if there is none.
    pub(super) fn bucket(database: &'a Database<S>, name: &[u8]) -> Result<Option<Self>, Damage> {
        let mut buckets = Self::root(database)?;
        while let Some(entry) = buckets.next()? {
            if entry.is_bucket && entry.key == name {
                return Ok(Some(Self::at(database, root_page(database, &entry.value)?)));
            }
        }
        Ok(None)
    }

    fn at(database: &'a Database<S>, page: Page) -> Self {
        let count = page.count();
        Self {
            database,
            path: vec![(page, count)],
            last_key: None,
        }
    }

    /// The next entry, whose key is before the last one; `None` after the first key of the bucket.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Damage> {
        loop {
            let depth = self.path.len();
            let Some((page, left)) = self.path.last_mut() else {
                return Ok(None);
            };
            let Some(index) = left.checked_sub(1) else {
                self.path.pop();
                continue;
            };
            *left = index;
            if page.is_leaf() {
                let (entry, id) = (page.entry(index)?, page.id());
                return self.in_order(entry, id).map(Some);
            }
            if depth == MAX_DEPTH {
                return Err(Damage::page(page.id(), "the tree of pages is too deep"));
            }
            let child = self.database.page(page.child(index))?;
            if child.count() == 0 {
                return Err(Damage::page(child.id(), "it is empty"));
            }
            let count = child.count();
            self.path.push((child, count));
        }
    }

    fn in_order(&mut self, entry: Entry, id: u64) -> Result<Entry, Damage> {
        if self.last_key.as_ref().is_some_and(|last| entry.key >= last) {
            return Err(Damage::page(id, "its keys are not in order"));
        }
        self.last_key = Some(entry.key.clone());
        Ok(entry)
    }
}

fn root_page<S: ReadAt>(database: &Database<S>, value: &Bytes) -> Result<Page, Damage> {
    if value.len() < BUCKET_HEADER {
        return Err(Damage::new("a bucket of it is cut off"));
    }
    match value.word64(0) {
        // A small bucket is within the value.
        0 => Page::parse(0, value.slice(BUCKET_HEADER..)),
        id => database.page(id),
    }
}
