//! The HTTP API of Vault and OpenBao, as far as this plugin needs it.
//!
//! Knows nothing of Kubernetes, of actors or of when to call what: one call in, one typed answer out.

mod answer;
mod capabilities;
mod client;
mod error;
mod error_kind;
mod names;
mod secret;
mod tls;
mod token;
mod transit;
mod wrapping;

pub use answer::root_cause;
pub use client::{
    Address, BuildError, Client, ClientCertificate, Hop, InvalidProxy, Proxies, Proxy, Settings,
};
pub use error::CallError;
pub use error_kind::ApiErrorKind;
pub use names::{InvalidName, KeyName, KeyVersion, MountPath, Namespace, TransitKey};
pub use secret::{Ciphertext, InvalidCiphertext, InvalidToken, Plaintext, Token};
pub use tls::{ServerCertificate, install_provider};
pub use token::{Grant, Health, Lease, Server, TokenInfo};
pub use transit::{Encrypted, KeyInfo, Outcomes, ToEncrypt, VersionStamp};
