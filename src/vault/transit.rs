//! Transit: keys, Encrypt and Decrypt.

mod items;
mod key;
mod mount;
#[cfg(feature = "kmsctl")]
mod rotation;

pub use items::{AssociatedData, Encrypted, Outcomes, ToDecrypt, ToEncrypt};
pub use key::{KeyInfo, Unfit, VersionStamp};
#[cfg(feature = "kmsctl")]
pub use rotation::KeyVersions;
