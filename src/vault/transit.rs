//! Transit: keys, Encrypt and Decrypt.

mod items;
mod key;
mod mount;
#[cfg(feature = "kmsctl")]
mod rotation;

pub use items::{AssociatedData, Encrypted, Outcomes, ToDecrypt, ToEncrypt};
#[cfg(any(test, fuzzing))]
pub(super) use items::{body, outcomes};
#[cfg(all(any(test, fuzzing), feature = "kmsctl"))]
pub(super) use key::read_with_versions;
pub use key::{KeyInfo, Unfit, VersionStamp};
#[cfg(any(test, fuzzing))]
pub(super) use mount::read_is_upsert_disabled;
#[cfg(feature = "kmsctl")]
pub use rotation::KeyVersions;
