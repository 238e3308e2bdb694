//! Reads certificate files, bounded, and tells when one of them changed.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::BuildError;

use crate::telemetry::events;

/// Far above every certificate chain and every system's bundle of roots.
const MAX_BYTES: u64 = 1024 * 1024;

/// What changes when one of several files is written, replaced, added or taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<(PathBuf, Option<[i128; 4]>)>);

/// What the files are now. A symbolic link counts as what it points to, a directory as its files.
pub(super) fn fingerprint(paths: &[PathBuf]) -> Fingerprint {
    let mut all = Vec::new();
    for path in paths {
        let inner = entries(path).unwrap_or_default();
        for file in inner.into_iter().chain([path.clone()]) {
            let data = fs::metadata(&file).ok();
            let state = data.map(|data| {
                [
                    data.ino().into(),
                    data.len().into(),
                    data.mtime().into(),
                    data.mtime_nsec().into(),
                ]
            });
            all.push((file, state));
        }
    }
    Fingerprint(all)
}

/// The files of a directory, in order.
pub(super) fn entries(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Warns of a private key that is none.
pub(super) fn warn_if_open_to_all(key: &'static str, path: &Path) {
    const READ_BY_OTHERS: u32 = 0o004;
    if fs::metadata(path).is_ok_and(|data| data.mode() & READ_BY_OTHERS != 0) {
        let file = path.display().to_string();
        events::PrivateKeyReadable { key, file }.emit();
    }
}

pub(super) fn read(key: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, BuildError> {
    let refuse = |cause: String| BuildError {
        key,
        cause: format!("cannot read {}: {cause}", path.display()),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| refuse(error.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refuse("it is longer than 1 MiB".to_owned()));
    }
    Ok(bytes)
}
