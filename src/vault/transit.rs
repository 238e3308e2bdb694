//! Transit: keys, Encrypt and Decrypt.

mod items;
mod key;

pub use items::{Encrypted, Outcomes, ToEncrypt};
pub use key::{KeyInfo, Unfit, VersionStamp};
