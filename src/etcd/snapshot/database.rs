//! A database of bbolt (`go.etcd.io/bbolt`): its meta pages, and any other page by its number.

use std::io;

use prost::bytes::Bytes;

use super::damage::Damage;
use super::page::{HEADER, Page, Words};

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// The fields of a meta page that its checksum is of, in bytes, after the header.
const META_FIELDS: usize = 56;
const META: usize = META_FIELDS + 8;
/// bbolt looks for the second meta page at each of these sizes if the first is damaged.
const PAGE_SIZES: [u32; 8] = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];
/// The first pages are meta pages.
const FIRST_PAGE: u64 = 2;
/// More than any page with its overflow: a value has 1.5 MiB unless etcd's --max-request-bytes says otherwise.
const MAX_PAGE: u64 = 128 * 1024 * 1024;

/// What a database is read from.
pub(super) trait ReadAt {
    /// How many bytes there are.
    fn length(&self) -> u64;
    /// Fills the buffer with what is at this offset.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for &[u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).ok();
        let found = from.and_then(|from| self.get(from..from.checked_add(buffer.len())?));
        let found = found.ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }
}

/// What is valid until the next transaction.
#[derive(Debug, Clone, Copy)]
struct Meta {
    page_size: u32,
    /// The page of the bucket of buckets.
    root: u64,
    /// The number after that of the last page.
    end: u64,
    transaction: u64,
}

/// A database.
#[derive(Debug)]
pub(super) struct Database<S> {
    source: S,
    meta: Meta,
}

impl<S: ReadAt> Database<S> {
    /// Reads the meta pages.
    pub(super) fn open(source: S) -> Result<Self, Damage> {
        let first = Meta::read(&source, 0);
        let sizes = match &first {
            Ok(meta) => vec![meta.page_size],
            Err(_) => PAGE_SIZES.to_vec(),
        };
        let others = sizes.into_iter().filter_map(|size| {
            let meta = Meta::read(&source, u64::from(size)).ok()?;
            (meta.page_size == size).then_some(meta)
        });
        let newest = first
            .iter()
            .copied()
            .chain(others)
            .max_by_key(|meta| meta.transaction);
        let meta = match (newest, first) {
            (Some(meta), _) => meta,
            (None, Err(damage)) => return Err(damage),
            (None, Ok(meta)) => meta,
        };
        let expected = meta.end.checked_mul(u64::from(meta.page_size));
        match expected {
            Some(expected) if expected <= source.length() => Ok(Self { source, meta }),
            Some(expected) => Err(Damage::new(format!(
                "it is cut off: it has {} of {expected} bytes",
                source.length()
            ))),
            None => Err(Damage::new(
                "its meta page is damaged: there cannot be so many pages",
            )),
        }
    }

    /// The number of the page of the bucket of buckets.
    pub(super) fn root(&self) -> u64 {
        self.meta.root
    }

    /// A page with its overflow.
    pub(super) fn page(&self, id: u64) -> Result<Page, Damage> {
        if !(FIRST_PAGE..self.meta.end).contains(&id) {
            let text = format!("it refers to page {id}, and there are {}", self.meta.end);
            return Err(Damage::new(text));
        }
        let size = u64::from(self.meta.page_size);
        // Cannot overflow: the product of the end did not.
        let offset = id * size;
        let mut bytes = self.read(offset, size)?;
        let overflow = u64::from(bytes.word32(12));
        if overflow > 0 {
            let length = (overflow + 1) * size;
            if id + overflow >= self.meta.end || length > MAX_PAGE {
                return Err(Damage::page(id, "it goes on beyond the last page"));
            }
            bytes = self.read(offset, length)?;
        }
        Page::parse(id, Bytes::from(bytes))
    }

    fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, Damage> {
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(HEADER)];
        let read = self.source.read_at(&mut buffer, offset);
        read.map_err(|error| Damage::read(&error))?;
        Ok(buffer)
    }
}

impl Meta {
    fn read(source: &impl ReadAt, offset: u64) -> Result<Self, Damage> {
        let mut bytes = [0; HEADER + META];
        if source.read_at(&mut bytes, offset).is_err() {
            return Err(Damage::new("it is too short for a database of etcd"));
        }
        let meta = &bytes[HEADER..];
        if meta.word32(0) != MAGIC {
            return Err(foreign(&bytes));
        }
        if meta.word32(4) != VERSION {
            let text = format!("its version of bbolt is {}, not {VERSION}", meta.word32(4));
            return Err(Damage::new(text));
        }
        if fnv64a(&meta[..META_FIELDS]) != meta.word64(META_FIELDS) {
            return Err(Damage::new("both of its meta pages are damaged"));
        }
        let page_size = meta.word32(8);
        if !PAGE_SIZES.contains(&page_size) {
            let text = format!("its meta page is damaged: pages of {page_size} bytes");
            return Err(Damage::new(text));
        }
        Ok(Self {
            page_size,
            root: meta.word64(16),
            end: meta.word64(40),
            transaction: meta.word64(48),
        })
    }
}

fn foreign(beginning: &[u8]) -> Damage {
    const REMEDY: &str =
        "name a file that `etcdctl snapshot save` has written, or a copy of member/snap/db";
    let cause = "it is no database of etcd";
    if beginning.starts_with(&[0x1f, 0x8b]) {
        return Damage::with_remedy(
            format!("{cause}: it is compressed by gzip"),
            "gunzip it first",
        );
    }
    if beginning.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Damage::with_remedy(
            format!("{cause}: it is compressed by zstd"),
            "unzstd it first",
        );
    }
    Damage::with_remedy(cause, REMEDY)
}

fn fnv64a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
