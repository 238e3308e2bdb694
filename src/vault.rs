//! The HTTP API of Vault and OpenBao, as far as this plugin needs it.
//!
//! Knows nothing of Kubernetes, of actors or of when to call what: one call in, one typed answer out.

mod answer;
mod client;
mod error;
mod names;
mod refusal;
mod secret;
mod tls;
mod token;
mod transit;
mod wrapping;

pub use client::{
    Address, BuildError, Client, ClientCertificate, InvalidProxy, Proxies, Proxy, Settings,
};
pub use error::CallError;
pub use names::{InvalidName, KeyName, KeyVersion, MountPath, Namespace, TransitKey};
pub use refusal::Refusal;
pub use secret::{Ciphertext, InvalidCiphertext, InvalidToken, Plaintext, Token};
pub use token::{Grant, Health, Lease};
pub use transit::{Encrypted, KeyInfo, KeyMoment, Outcomes, ToEncrypt};
