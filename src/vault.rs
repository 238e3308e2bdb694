//! The part of the HTTP API of Vault and OpenBao that this plugin needs.
//!
//! Knows nothing of Kubernetes, of actors or of when to call what: one call in, one typed result out.

mod capabilities;
mod client;
mod error;
mod error_kind;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod names;
mod redaction;
mod response;
mod secret;
mod sys;
mod tls;
mod token;
mod transit;
mod wrapping;

pub use client::{
    Address, BuildError, Client, ClientCertificate, InvalidProxy, Proxies, Proxy, Settings,
};
pub use error::{CallError, Progress, Unavailable};
pub use error_kind::ApiErrorKind;
pub use names::{InvalidName, KeyName, KeyVersion, MountPath, Namespace, TransitKey};
pub use response::root_cause;
pub use secret::{Ciphertext, InvalidCiphertext, InvalidToken, Plaintext, Token};
pub use sys::{Health, Server};
pub use tls::{Negotiated, ServerCertificate, install_provider};
pub use token::{Grant, Lease, TokenInfo};
#[cfg(feature = "kmsctl")]
pub use transit::KeyVersions;
pub use transit::{
    AssociatedData, Encrypted, KeyInfo, Outcomes, ToDecrypt, ToEncrypt, Unfit, VersionStamp,
};

#[cfg(test)]
mod tests;
