//! Certificate files that change while the daemon runs.

use super::super::harness::certificates::Certificates;
use super::super::harness::kms::KmsClient;
use super::super::harness::wait;
use super::super::{LIMIT, daemon_for};
use super::{NAMED, demanding, showing, trusting, vault_with_tls};

const SEED: [u8; 32] = [3; 32];

async fn a_new_ca_is_trusted_from_the_next_connection_on() {
    let (old, new) = (Certificates::new(), Certificates::new());
    let (vault, fixture, address) = vault_with_tls(&old, "").await;
    let daemon = trusting(daemon_for(&address, &fixture), &old, NAMED)
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    // The server gets a certificate of the new CA, which the file does not hold yet.
    new.server("vault.example");
    for end in ["pem", "key"] {
        let name = format!("vault.example.{end}");
        std::fs::copy(new.path(&name), old.path(&name)).unwrap();
    }
    vault.restart().await;
    let error = client.encrypt(&SEED).await.unwrap_err();
    assert!(error.message().contains("unknown issuer"), "{error}");
    old.write("ca.pem", &format!("{}{}", old.ca_pem(), new.ca_pem()));
    wait::until("a call to work", LIMIT, async || {
        client.encrypt(&SEED).await.ok()
    })
    .await;
    daemon.logged("certificate files changed").await;
}

async fn a_broken_new_file_is_reported_once_and_the_last_good_one_stays_in_use() {
    let certificates = Certificates::new();
    certificates.client("node-1");
    certificates.client("node-2");
    let current = certificates.link("node-1.both", "current.pem");
    let (vault, fixture, address) = vault_with_tls(&certificates, &demanding(&certificates)).await;
    let shown = showing(&certificates, "current.pem", None);
    let daemon = trusting(daemon_for(&address, &fixture), &certificates, &shown)
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;

    certificates.write("broken.pem", "-----BEGIN CERTIFICATE-----\nsecret");
    certificates.link("broken.pem", "current.pem");
    let text = "changed certificate file cannot be used, keeping the last good one";
    wait::until_true("the broken file is reported", LIMIT, async || {
        client.encrypt(&SEED).await.unwrap();
        daemon.log().contains(text)
    })
    .await;
    // No connection is left, and new ones use the last good file.
    vault.restart().await;
    wait::until("a call to work", LIMIT, async || {
        client.encrypt(&SEED).await.ok()
    })
    .await;
    let log = daemon.log();
    assert_eq!(log.matches(text).count(), 1, "{log}");
    let named = format!("vault.client_cert_file: {}", current.display());
    assert!(log.contains(&named) && !log.contains("secret"), "{log}");

    certificates.link("node-2.both", "current.pem");
    wait::until_true("the good file is used", LIMIT, async || {
        client.encrypt(&SEED).await.unwrap();
        daemon.log().contains("certificate files changed")
    })
    .await;
}

tests! {
    single a_new_ca_is_trusted_from_the_next_connection_on [Vault];
    single a_broken_new_file_is_reported_once_and_the_last_good_one_stays_in_use [Vault];
}
