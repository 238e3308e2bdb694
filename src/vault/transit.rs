//! Transit: keys, Encrypt and Decrypt.

mod items;
mod key;
mod mount;

pub use items::{Encrypted, Outcomes, ToEncrypt};
pub use key::{KeyInfo, Unfit, VersionStamp};
