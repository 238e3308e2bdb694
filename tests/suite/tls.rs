//! TLS to a real Vault: the trusted CAs, the expected name, the client certificate.

mod environment;
mod errors;
mod negotiation;
mod pinned;
mod reload;

use std::os::unix::fs::PermissionsExt;

use tonic::Code;

use super::harness::certificates::Certificates;
use super::harness::child::free_port;
use super::harness::daemon::{Builder, Daemon};
use super::harness::kms::KmsClient;
use super::harness::vault::{Fixture, Vault};
use super::{LIMIT, daemon_for};

/// A Vault with a certificate for `vault.example` of this CA; `more` goes into its listener. Returns
/// its address.
pub(super) async fn vault_with_tls(
    certificates: &Certificates,
    more: &str,
) -> (Vault, Fixture, String) {
    vault_with_debug(certificates, more, "").await
}

/// The same with this `GODEBUG`.
async fn vault_with_debug(
    certificates: &Certificates,
    more: &str,
    godebug: &'static str,
) -> (Vault, Fixture, String) {
    if !certificates.path("vault.example.pem").exists() {
        certificates.server("vault.example");
    }
    let port = free_port();
    let listener = format!(
        "listener \"tcp\" {{\n address = \"127.0.0.1:{port}\"\n tls_cert_file = \"{}\"\n tls_key_file = \"{}\"\n{more}\n}}",
        certificates.path("vault.example.pem").display(),
        certificates.path("vault.example.key").display(),
    );
    let vault = Vault::start_persistent_debug(&listener, godebug).await;
    let fixture = vault.fixture().await;
    (vault, fixture, format!("https://127.0.0.1:{port}"))
}

pub(super) fn trusting(builder: Builder, certificates: &Certificates, more: &str) -> Builder {
    let ca = certificates.path("ca.pem");
    builder.extra(&format!("[vault]\nca_file = \"{}\"\n{more}", ca.display()))
}

pub(super) const NAMED: &str = "tls_server_name = \"vault.example\"";

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
    refused(unnamed, "is for vault.example and not for 127.0.0.1").await;
    let stranger = Certificates::new();
    refused(
        trusting(daemon_for(&address, &fixture), &stranger, NAMED),
        "unknown issuer",
    )
    .await;
    let system_roots = daemon_for(&address, &fixture).extra(&format!("[vault]\n{NAMED}"));
    refused(system_roots, "unknown issuer").await;
}

async fn works(builder: Builder) {
    let daemon = builder.spawn().await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
}

pub(super) async fn refused(builder: Builder, reason: &str) {
    let daemon = builder.spawn().await;
    let client = KmsClient::connect(daemon.socket());
    let error = client.encrypt(b"x").await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(error.message().contains(reason), "{error}");
}

/// A listener that requires a client certificate of this CA.
fn demanding(certificates: &Certificates) -> String {
    format!(
        " tls_require_and_verify_client_cert = true\n tls_client_ca_file = \"{}\"",
        certificates.path("ca.pem").display()
    )
}

/// The keys of `[vault]` for this certificate; without `key` both are in one file.
fn showing(certificates: &Certificates, cert: &str, key: Option<&str>) -> String {
    let key = key.map(|key| {
        let path = certificates.path(key);
        format!("\nclient_key_file = \"{}\"", path.display())
    });
    format!(
        "{NAMED}\nclient_cert_file = \"{}\"{}",
        certificates.path(cert).display(),
        key.unwrap_or_default()
    )
}

async fn a_client_certificate_is_presented_if_vault_asks_for_one() {
    let certificates = Certificates::new();
    certificates.client("node-1");
    let (_vault, fixture, address) = vault_with_tls(&certificates, &demanding(&certificates)).await;
    for shown in [
        showing(&certificates, "node-1.pem", Some("node-1.key")),
        showing(&certificates, "node-1.both", None),
    ] {
        let daemon = trusting(daemon_for(&address, &fixture), &certificates, &shown)
            .spawn()
            .await;
        KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    }
    refused(
        trusting(daemon_for(&address, &fixture), &certificates, NAMED),
        "set vault.client_cert_file",
    )
    .await;
}

/// A listener that speaks this version alone.
fn only(version: &str) -> String {
    format!(" tls_min_version = \"{version}\"\n tls_max_version = \"{version}\"")
}

async fn tls_1_3_and_1_2_are_spoken_and_nothing_older() {
    let certificates = Certificates::new();
    for version in ["tls13", "tls12"] {
        let (_vault, fixture, address) = vault_with_tls(&certificates, &only(version)).await;
        let daemon = trusting(daemon_for(&address, &fixture), &certificates, NAMED)
            .spawn()
            .await;
        KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    }
    let (_vault, fixture, address) = vault_with_tls(&certificates, &only("tls11")).await;
    refused(
        trusting(daemon_for(&address, &fixture), &certificates, NAMED),
        "the server speaks neither TLS 1.3 nor 1.2",
    )
    .await;
}

async fn a_directory_of_certificates_is_trusted_in_addition_to_the_file() {
    let certificates = Certificates::new();
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let other = Certificates::new();
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        // Whatever the umask: a CA that a group can write to is refused.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    };
    put("README", "no certificate");
    put("other.pem", &other.ca_pem());
    put("vault.crt", &certificates.ca_pem());
    let ca_dir = format!("ca_dir = \"{}\"", dir.path().display());
    let alone = format!("[vault]\n{NAMED}\n{ca_dir}");
    let daemon = daemon_for(&address, &fixture).extra(&alone).spawn().await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    // Together with the file of another CA.
    let both = format!("{NAMED}\n{ca_dir}");
    let builder = trusting(daemon_for(&address, &fixture), &other, &both);
    let daemon = builder.spawn().await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
}

async fn a_certificate_file_that_cannot_be_used_ends_the_start_with_78() {
    let certificates = Certificates::new();
    let nowhere = || {
        Daemon::builder()
            .vault("https://127.0.0.1:9")
            .transit("transit", "kms")
            .token("x")
    };
    certificates.client("node-1");
    certificates.client("node-2");
    certificates.write("empty.pem", "no certificate");
    certificates.write("huge.pem", &"x".repeat(1024 * 1024 + 1));
    let dir = tempfile::tempdir().unwrap();
    let file = |key: &str, name: &str| format!("{key} = \"{}\"", certificates.path(name).display());
    let pair = |cert, key| file("client_cert_file", cert) + "\n" + &file("client_key_file", key);
    let mixed = pair("node-1.pem", "node-2.key");
    let keyless = pair("node-1.pem", "node-1.pem");
    for (keys, key, said) in [
        (
            file("ca_file", "missing.pem"),
            "vault.ca_file",
            "cannot be opened",
        ),
        (
            file("ca_file", "empty.pem"),
            "vault.ca_file",
            "holds no PEM certificate",
        ),
        (
            file("ca_file", "huge.pem"),
            "vault.ca_file",
            "larger than 1024 KiB",
        ),
        (
            format!("ca_dir = \"{}\"", dir.path().display()),
            "vault.ca_dir",
            "holds no file with a PEM certificate",
        ),
        (
            file("client_cert_file", "node-1.pem"),
            "vault.client_key_file",
            "holds no unencrypted private key",
        ),
        (
            keyless,
            "vault.client_key_file",
            "holds no unencrypted private key",
        ),
        (mixed, "vault.client_cert_file", "cannot be used together"),
    ] {
        let daemon = nowhere().extra(&format!("[vault]\n{keys}")).spawn_raw();
        assert_eq!(daemon.wait_exit(LIMIT).await, 78);
        let log = daemon.log();
        assert!(log.contains(key) && log.contains(said), "{log}");
        assert!(!daemon.socket().exists());
    }
}

tests! {
    [environment, errors, negotiation, pinned, reload]
    single only_the_configured_ca_and_name_are_trusted [Vault];
    single a_client_certificate_is_presented_if_vault_asks_for_one [Vault];
    single tls_1_3_and_1_2_are_spoken_and_nothing_older [Vault];
    single a_directory_of_certificates_is_trusted_in_addition_to_the_file [Vault];
    single a_certificate_file_that_cannot_be_used_ends_the_start_with_78;
}
