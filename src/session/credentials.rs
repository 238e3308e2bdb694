//! Credential files: read at each use, trimmed, bounded, and named when something is wrong.

use std::path::Path;

use tokio::fs::File;
use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

use crate::vault::Token;

/// Far above every token, below anything that would hurt.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads the secret in a file. `key` is the configuration key that names the file.
///
/// # Errors
/// With the key, the file, what is wrong and what to do.
pub(super) async fn read(key: &str, path: &Path) -> Result<Token, String> {
    let refuse = |cause: &str| format!("{key}: {} {cause}", path.display());
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path)
        .await
        .map_err(|error| refuse(&format!("cannot be opened: {error}; put the secret there")))?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .await
        .map_err(|error| refuse(&format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refuse("is longer than 64 KiB: that is no secret"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| refuse("is not text"))?;
    Token::try_new(text).map_err(|error| refuse(&format!("{error}; put the secret there")))
}
