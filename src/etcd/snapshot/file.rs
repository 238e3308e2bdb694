//! The file of a snapshot: whether it may be read, and whether it is what was written.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use rustix::fs::{FlockOperation, OFlags, flock};

use super::damage::Damage;
use super::database::ReadAt;

/// A database has whole blocks of this many bytes; a SHA-256 behind it shows as a remainder
/// (`etcdutl/snapshot/v3_snapshot.go`).
const BLOCK: u64 = 512;
const HASH_BYTES: usize = 32;
/// How much is hashed at one time, in bytes.
const CHUNK: usize = 1024 * 1024;

/// A database without what follows it.
#[derive(Debug)]
pub(super) struct Snapshot {
    file: File,
    length: u64,
}

impl ReadAt for Snapshot {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// Opens a file, and compares its SHA-256 if it has one.
pub(super) fn open(path: &Path) -> Result<Snapshot, Damage> {
    // A pipe would be waited for until another process opens it.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| not_opened(&error))?;
    let data = file.metadata().map_err(|error| Damage::read(&error))?;
    if !data.is_file() {
        let cause = "is not a regular file";
        return Err(Damage::with_remedy(
            cause,
            "name the file of a snapshot, or member/snap/db",
        ));
    }
    is_unused(&file)?;
    let length = data.len();
    if length % BLOCK != HASH_BYTES as u64 {
        return Ok(Snapshot { file, length });
    }
    let length = length - HASH_BYTES as u64;
    let mut expected = [0; HASH_BYTES];
    file.read_exact_at(&mut expected, length)
        .map_err(|error| Damage::read(&error))?;
    if hash(&file, length)? != expected {
        return Err(Damage::new(
            "its content is not that of the SHA-256 at its end: it was changed or damaged",
        ));
    }
    Ok(Snapshot { file, length })
}

/// etcd locks the database that it has open, and changes it.
fn is_unused(file: &File) -> Result<(), Damage> {
    match flock(file, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Damage::with_remedy(
            "is in use by a running etcd, which changes it",
            "take a snapshot with `etcdctl snapshot save`, or read that etcd itself with --endpoints",
        )),
        // Where there are no locks etcd has none either.
        Err(_) => Ok(()),
        Ok(()) => flock(file, FlockOperation::Unlock).map_err(|error| Damage::read(&error.into())),
    }
}

fn hash(file: &File, length: u64) -> Result<Vec<u8>, Damage> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; CHUNK];
    let mut offset = 0;
    while offset < length {
        let part = usize::try_from(length - offset).map_or(CHUNK, |left| left.min(CHUNK));
        file.read_exact_at(&mut buffer[..part], offset)
            .map_err(|error| Damage::read(&error))?;
        context.update(&buffer[..part]);
        offset += part as u64;
    }
    Ok(context.finish().as_ref().to_vec())
}

fn not_opened(error: &io::Error) -> Damage {
    let remedy = match error.kind() {
        ErrorKind::NotFound => "correct the path",
        ErrorKind::PermissionDenied => "run this as a user who may read it",
        _ => "check the file",
    };
    Damage::with_remedy(format!("cannot be opened: {error}"), remedy)
}
