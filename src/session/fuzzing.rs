//! Any bytes as the file of the secret_ids.

use super::secret_id_store::{content, read};

/// What is accepted is read back from what is written of it, and an error quotes nothing.
///
/// # Panics
/// If that does not hold.
pub(crate) fn secret_ids(input: &[u8]) {
    let stored = match read(input) {
        Ok(stored) => stored,
        Err(error) => return assert_eq!(error.to_string(), "it is damaged"),
    };
    let text = content(&stored).expect("JSON");
    let again = read(&text).expect("what was written is read");
    assert_eq!(content(&again).expect("JSON"), text);
    for (one, other) in [
        (Some(&again.current), Some(&stored.current)),
        (again.previous.as_ref(), stored.previous.as_ref()),
    ] {
        let secret = |it: &super::secret_id_store::SecretIdRecord| it.secret_id.clone();
        // Not shown by a failure.
        assert!(one.map(secret) == other.map(secret));
    }
}
