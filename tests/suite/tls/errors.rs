//! The errors for a certificate that either side does not accept.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, date_time_ymd};

use super::super::daemon_for;
use super::super::harness::certificates::Certificates;
use super::{NAMED, demanding, refused, showing, trusting, vault_with_tls};

async fn a_certificate_outside_its_validity_is_described() {
    let certificates = Certificates::new();
    let late = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 2, 3);
    };
    let early = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2090, 1, 1);
        params.not_after = date_time_ymd(2091, 1, 1);
    };
    let server = ExtendedKeyUsagePurpose::ServerAuth;
    certificates.issue("vault.example", server.clone(), late);
    let (vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let builder = || trusting(daemon_for(&address, &fixture), &certificates, NAMED);
    let issued = format!(
        "certificate of CN=vault.example, issued by CN={}",
        certificates.name()
    );
    let cause = format!("{issued}, valid until 2021-02-03T00:00:00Z: expired");
    refused(builder(), &cause).await;

    certificates.issue("vault.example", server, early);
    vault.restart().await;
    let cause = format!(
        "{issued}, valid until 2091-01-01T00:00:00Z: not valid before 2090-01-01T00:00:00Z"
    );
    refused(builder(), &cause).await;
}

async fn a_wrong_name_and_an_unknown_issuer_are_reported_with_the_remedy() {
    let certificates = Certificates::new();
    certificates.issue(
        "vault.example",
        ExtendedKeyUsagePurpose::ServerAuth,
        |params| {
            let more = "10.1.2.3".parse().unwrap();
            params
                .subject_alt_names
                .push(rcgen::SanType::IpAddress(more));
        },
    );
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let builder = || daemon_for(&address, &fixture);
    let names = "is for vault.example, 10.1.2.3 and not for";
    let remedy = "set vault.tls_server_name or the address";
    refused(
        trusting(builder(), &certificates, ""),
        &format!("{names} 127.0.0.1; {remedy}"),
    )
    .await;
    refused(
        trusting(
            builder(),
            &certificates,
            "tls_server_name = \"bao.example\"",
        ),
        &format!("{names} bao.example; {remedy}"),
    )
    .await;
    let stranger = Certificates::new();
    let cause = format!(
        "unknown issuer; if CN={} issued the certificate of your Vault, put its own into vault.ca_file",
        certificates.name()
    );
    refused(trusting(builder(), &stranger, NAMED), &cause).await;
}

async fn http_to_an_https_server_and_the_reverse_are_reported() {
    let certificates = Certificates::new();
    let (vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let tls_to_plain = vault.address().replace("http://", "https://");
    refused(
        trusting(daemon_for(&tls_to_plain, &fixture), &certificates, ""),
        "check whether the server speaks TLS at all",
    )
    .await;
    let daemon = daemon_for(&address.replace("https://", "http://"), &fixture)
        .spawn()
        .await;
    daemon
        .logged("the server speaks TLS only; write https:// in vault.address")
        .await;
}

async fn a_client_certificate_that_the_server_rejects_is_described() {
    let certificates = Certificates::new();
    let stranger = Certificates::new();
    stranger.client("node-1");
    let (_vault, fixture, address) = vault_with_tls(&certificates, &demanding(&certificates)).await;
    let shown = showing(&stranger, "node-1.both", None);
    let cause = format!(
        "it was shown vault.client_cert_file: {}: certificate of CN=node-1, issued by CN={}",
        stranger.path("node-1.both").display(),
        stranger.name()
    );
    refused(
        trusting(daemon_for(&address, &fixture), &certificates, &shown),
        &cause,
    )
    .await;
}

tests! {
    single a_certificate_outside_its_validity_is_described [Vault];
    single a_wrong_name_and_an_unknown_issuer_are_reported_with_the_remedy [Vault];
    single http_to_an_https_server_and_the_reverse_are_reported [Vault];
    single a_client_certificate_that_the_server_rejects_is_described [Vault];
}
