//! A page of bbolt: a header, a table of elements, and what they refer to. Pure.

use prost::bytes::Bytes;

use super::damage::Damage;

/// The header: number, flags, count, overflow.
pub(super) const HEADER: usize = 16;
/// An element of either kind.
const ELEMENT: usize = 16;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
/// The flag of an element that is a bucket.
const BUCKET: u32 = 0x01;

/// Words as bbolt writes them on every machine of today. What is out of range is 0: callers check the length first.
pub(super) trait Words {
    fn word16(&self, at: usize) -> u16;
    fn word32(&self, at: usize) -> u32;
    fn word64(&self, at: usize) -> u64;
}

impl Words for [u8] {
    fn word16(&self, at: usize) -> u16 {
        let bytes = self.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u16::from_le_bytes(*bytes))
    }

    fn word32(&self, at: usize) -> u32 {
        let bytes = self.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    fn word64(&self, at: usize) -> u64 {
        let bytes = self.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// A page of a tree.
#[derive(Debug, Clone)]
pub(super) struct Page {
    id: u64,
    is_leaf: bool,
    count: usize,
    bytes: Bytes,
}

/// An element of a leaf.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) is_bucket: bool,
    pub(super) key: Bytes,
    pub(super) value: Bytes,
}

impl Page {
    /// Reads the header of a page that should have this number; a page within a value has 0.
    pub(super) fn parse(id: u64, bytes: Bytes) -> Result<Self, Damage> {
        if bytes.len() < HEADER {
            return Err(Damage::page(id, "it is too short"));
        }
        if bytes.word64(0) != id {
            return Err(Damage::page(id, "it has the number of another one"));
        }
        let is_leaf = match bytes.word16(8) {
            BRANCH => false,
            LEAF => true,
            _ => return Err(Damage::page(id, "it is neither a branch nor a leaf")),
        };
        let count = usize::from(bytes.word16(10));
        if HEADER + count * ELEMENT > bytes.len() {
            return Err(Damage::page(id, "it has not as many elements as it says"));
        }
        Ok(Self {
            id,
            is_leaf,
            count,
            bytes,
        })
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.is_leaf
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The page that an element of a branch refers to.
    pub(super) fn child(&self, index: usize) -> u64 {
        self.bytes.word64(HEADER + index * ELEMENT + 8)
    }

    /// An element of a leaf.
    pub(super) fn entry(&self, index: usize) -> Result<Entry, Damage> {
        let element = HEADER + index * ELEMENT;
        let word = |at: usize| self.bytes.word32(element + at) as usize;
        let (position, key_length, value_length) = (word(4), word(8), word(12));
        let key_start = element + position;
        let value_start = key_start + key_length;
        let end = value_start + value_length;
        if end > self.bytes.len() {
            return Err(Damage::page(self.id, "an element of it is beyond its end"));
        }
        Ok(Entry {
            is_bucket: self.bytes.word32(element) & BUCKET != 0,
            key: self.bytes.slice(key_start..value_start),
            value: self.bytes.slice(value_start..end),
        })
    }
}
