//! TLS of every connection to Vault: the trusted CAs, the client certificate, and files that are
//! read again when they change. Knows nothing of HTTP.

mod connector;
mod diagnostics;
mod identity;
mod reload;
mod roots;
mod settings;
mod verifier;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub(super) use connector::Tls;
pub use diagnostics::ServerCertificate;
pub(super) use diagnostics::diagnose;
pub(super) use reload::CertificateReloader;
pub(super) use settings::TlsSettings;
pub use settings::{BuildError, ClientCertificate};

/// Installs rustls's process-wide provider; a second call changes nothing.
pub fn install_provider() {
    let provider: CryptoProvider = aws_lc_rs::default_provider();
    let _ = provider.install_default();
}
