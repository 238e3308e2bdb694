//! TLS of every connection to Vault: the trusted CAs, the client certificate, and files that are
//! read again when they change. Knows nothing of HTTP.

mod connector;
mod diagnostics;
mod handshake;
mod identity;
mod reload;
mod roots;
mod settings;
mod verifier;

use rustls::crypto::aws_lc_rs;

pub(super) use connector::Tls;
pub use diagnostics::ServerCertificate;
pub(super) use diagnostics::diagnose;
pub use handshake::Negotiated;
pub(super) use reload::CertificateReloader;
pub(super) use settings::TlsSettings;
pub use settings::{BuildError, ClientCertificate};

/// Installs rustls's process-wide provider; a second call changes nothing.
pub fn install_provider() {
    let _ = aws_lc_rs::default_provider().install_default();
}
