//! TLS to a real Vault: which roots are trusted, which name is expected, a client certificate.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;
use tonic::Code;

use super::harness::child::free_port;
use super::harness::daemon::Builder;
use super::harness::kms::KmsClient;
use super::harness::vault::{Fixture, Vault};
use super::{LIMIT, daemon_for};

/// A CA, and what it has issued, as files.
struct Certificates {
    dir: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Each CA its own name, else one is taken for another that signed badly.
        let name = format!("test CA {}", fastrand::u64(..));
        params.distinguished_name.push(DnType::CommonName, name);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), ca.pem()).unwrap();
        Self { dir, ca }
    }

    /// Writes `<name>.pem` and `<name>.key`.
    fn issue(&self, name: &str, purpose: ExtendedKeyUsagePurpose) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// A Vault that speaks TLS under the name `vault.example`, as the CA says; `more` goes into its
/// listener. Returns its address.
async fn vault_with_tls(certificates: &Certificates, more: &str) -> (Vault, Fixture, String) {
    certificates.issue("vault.example", ExtendedKeyUsagePurpose::ServerAuth);
    let port = free_port();
    let listener = format!(
        "listener \"tcp\" {{\n address = \"127.0.0.1:{port}\"\n tls_cert_file = \"{}\"\n tls_key_file = \"{}\"\n{more}\n}}",
        certificates.path("vault.example.pem").display(),
        certificates.path("vault.example.key").display(),
    );
    let vault = Vault::start_persistent_with(&listener).await;
    let fixture = vault.fixture().await;
    (vault, fixture, format!("https://127.0.0.1:{port}"))
}

fn trusting(builder: Builder, certificates: &Certificates, more: &str) -> Builder {
    let ca = certificates.path("ca.pem");
    builder.extra(&format!("[vault]\nca_file = \"{}\"\n{more}", ca.display()))
}

const NAMED: &str = "tls_server_name = \"vault.example\"";

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn only_the_configured_ca_and_name_are_trusted() {
    let certificates = Certificates::new();
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let daemon = trusting(daemon_for(&address, &fixture), &certificates, NAMED)
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let (ciphertext, key_id) = client.encrypt(b"over TLS").await.unwrap();
    assert_eq!(
        client.decrypt(&ciphertext, &key_id).await.unwrap(),
        b"over TLS"
    );

    let unnamed = trusting(daemon_for(&address, &fixture), &certificates, "");
    refused(unnamed, "not valid for name").await;
    let stranger = Certificates::new();
    refused(
        trusting(daemon_for(&address, &fixture), &stranger, NAMED),
        "UnknownIssuer",
    )
    .await;
    let system_roots = daemon_for(&address, &fixture).extra(&format!("[vault]\n{NAMED}"));
    refused(system_roots, "UnknownIssuer").await;
}

async fn refused(builder: Builder, reason: &str) {
    let daemon = builder.spawn().await;
    let client = KmsClient::connect(daemon.socket());
    let error = client.encrypt(b"x").await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(error.message().contains(reason), "{error}");
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_client_certificate_is_shown_where_vault_asks_for_one() {
    let certificates = Certificates::new();
    certificates.issue("node-1", ExtendedKeyUsagePurpose::ClientAuth);
    let demand = format!(
        " tls_require_and_verify_client_cert = true\n tls_client_ca_file = \"{}\"",
        certificates.path("ca.pem").display()
    );
    let (_vault, fixture, address) = vault_with_tls(&certificates, &demand).await;
    let shown = format!(
        "{NAMED}\nclient_cert_file = \"{}\"\nclient_key_file = \"{}\"",
        certificates.path("node-1.pem").display(),
        certificates.path("node-1.key").display(),
    );
    let daemon = trusting(daemon_for(&address, &fixture), &certificates, &shown)
        .spawn()
        .await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    refused(
        trusting(daemon_for(&address, &fixture), &certificates, NAMED),
        "ertificate",
    )
    .await;
}

#[tokio::test]
async fn a_certificate_file_that_cannot_be_used_ends_the_start_with_78() {
    let certificates = Certificates::new();
    let nowhere = || {
        super::harness::daemon::Daemon::builder()
            .vault("https://127.0.0.1:9")
            .transit("transit", "kms")
            .token("x")
    };
    std::fs::write(certificates.path("empty.pem"), "no certificate").unwrap();
    for (file, said) in [
        ("missing.pem", "cannot read"),
        ("empty.pem", "holds no PEM certificate"),
    ] {
        let ca = certificates.path(file);
        let daemon = nowhere()
            .extra(&format!("[vault]\nca_file = \"{}\"", ca.display()))
            .spawn_raw();
        assert_eq!(daemon.wait_exit(LIMIT).await, 78);
        let log = daemon.log();
        assert!(log.contains("vault.ca_file") && log.contains(said), "{log}");
        assert!(!daemon.socket().exists());
    }
}
