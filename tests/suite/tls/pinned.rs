//! The server's very certificate in `vault.ca_file`, as Go's clients accept it.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};

use super::super::check::proven;
use super::super::daemon_for;
use super::super::harness::certificates::Certificates;
use super::super::harness::daemon::Builder;
use super::super::harness::forwarder::impostor;
use super::super::harness::vault::{Fixture, Vault};
use super::{NAMED, refused, vault_with_tls, works};

/// What is wrong with a certificate, how it is made so, and the error.
type Wrong = (&'static str, fn(&mut CertificateParams), &'static str);

/// As `openssl req -x509` makes it.
fn like_openssl(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

/// A daemon that trusts the certificate of this file alone.
fn pinning(address: &str, fixture: &Fixture, certificates: &Certificates, name: &str) -> Builder {
    let file = certificates.path(name);
    let keys = format!("[vault]\nca_file = \"{}\"\n{NAMED}", file.display());
    daemon_for(address, fixture).extra(&keys)
}

async fn the_servers_very_certificate_is_accepted_whoever_issued_it() {
    let openssl = Certificates::new();
    openssl.self_signed("vault.example", like_openssl);
    let no_ca = Certificates::new();
    no_ca.self_signed("vault.example", |params| {
        params.is_ca = IsCa::ExplicitNoCa;
    });
    let issued = Certificates::new();
    issued.server("vault.example");
    for certificates in [openssl, no_ca, issued] {
        let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
        let builder = || pinning(&address, &fixture, &certificates, "vault.example.pem");
        works(builder()).await;
        proven(builder(), &["--strict"]).await.ends_with(0);
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(
            certificates.path("vault.example.pem"),
            dir.path().join("v.pem"),
        )
        .unwrap();
        let ca_dir = format!("[vault]\nca_dir = \"{}\"\n{NAMED}", dir.path().display());
        works(daemon_for(&address, &fixture).extra(&ca_dir)).await;
    }
}

async fn of_a_pinned_certificate_dates_name_and_purpose_are_checked() {
    let certificates = Certificates::new();
    let wrong: [Wrong; 5] = [
        (
            "an end",
            |params| {
                params.not_before = date_time_ymd(2020, 1, 1);
                params.not_after = date_time_ymd(2021, 2, 3);
            },
            "valid until 2021-02-03T00:00:00Z: expired; renew it on the server",
        ),
        (
            "a begin",
            |params| {
                params.not_before = date_time_ymd(2090, 1, 1);
                params.not_after = date_time_ymd(2091, 1, 1);
            },
            "not valid before 2090-01-01T00:00:00Z; check this machine's clock",
        ),
        (
            "a name",
            |params| {
                let other = "bao.example".try_into().unwrap();
                params.subject_alt_names = vec![rcgen::SanType::DnsName(other)];
            },
            "is for bao.example and not for vault.example",
        ),
        (
            "no name",
            |params| params.subject_alt_names.clear(),
            "is for no name (it has no subjectAltName) and not for vault.example",
        ),
        (
            "a purpose",
            |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            "it is not for servers",
        ),
    ];
    certificates.self_signed("vault.example", like_openssl);
    let (vault, fixture, address) = vault_with_tls(&certificates, "").await;
    for (what, adjust, cause) in wrong {
        eprintln!("{what}");
        for is_ca in [false, true] {
            certificates.self_signed("vault.example", |params| {
                adjust(params);
                if is_ca {
                    like_openssl(params);
                }
            });
            vault.restart().await;
            let builder = pinning(&address, &fixture, &certificates, "vault.example.pem");
            refused(builder, cause).await;
        }
    }
}

async fn a_pinned_certificate_without_its_key_is_rejected() {
    let certificates = Certificates::new();
    certificates.self_signed("vault.example", like_openssl);
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let pinned = certificates.path("vault.example.pem");
    let stolen = Certificates::new();
    stolen.self_signed("vault.example", like_openssl);
    let key = stolen.path("vault.example.key");
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let end = impostor(vault.socket_address(), &pinned, &key, version);
        let address = format!("https://{}", end.address());
        let builder = pinning(&address, &fixture, &certificates, "vault.example.pem");
        refused(builder, "the server has not proven that it has its key").await;
    }
}

async fn a_pinned_certificate_that_is_no_ca_issues_none() {
    let certificates = Certificates::of_no_ca();
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let builder = pinning(&address, &fixture, &certificates, "ca.pem");
    let cause = format!(
        "unknown issuer; CN={} in vault.ca_file is no CA: put its CA there, or the server's certificate itself",
        certificates.name()
    );
    refused(builder, &cause).await;
}

async fn another_self_signed_certificate_is_rejected_with_the_remedy() {
    let certificates = Certificates::new();
    certificates.self_signed("vault.example", like_openssl);
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let other = Certificates::new();
    other.self_signed("vault.example", like_openssl);
    for name in ["vault.example.pem", "ca.pem"] {
        let builder = pinning(&address, &fixture, &other, name);
        let cause = "it is self-signed, and not in vault.ca_file; if it is the one that Vault has on its own host, \
             put this very certificate there";
        refused(builder, cause).await;
    }
}

tests! {
    single the_servers_very_certificate_is_accepted_whoever_issued_it [Vault];
    single of_a_pinned_certificate_dates_name_and_purpose_are_checked [Vault];
    single a_pinned_certificate_without_its_key_is_rejected [Vault];
    single a_pinned_certificate_that_is_no_ca_issues_none [Vault];
    single another_self_signed_certificate_is_rejected_with_the_remedy [Vault];
}
