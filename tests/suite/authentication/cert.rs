//! The method `cert` on a real Vault with TLS: the client certificate is the credential.

use rcgen::{ExtendedKeyUsagePurpose, IsCa};
use serde_json::{Value, json};
use tonic::Code;

use super::super::harness::certificates::Certificates;
use super::super::harness::daemon::{Builder, Daemon};
use super::super::harness::kms::KmsClient;
use super::super::harness::vault::{Fixture, Vault};
use super::super::harness::wait;
use super::super::tls::{NAMED, trusting, vault_with_tls};
use super::super::{LIMIT, daemon_at};
use super::SEED;

/// A role of `auth/cert` that accepts the certificates of this CA.
async fn role(vault: &Vault, name: &str, ca: &Certificates, fixture: &Fixture, more: Value) {
    let mut role = json!({ "certificate": ca.ca_pem(), "token_policies": [fixture.policy] });
    role.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let path = format!("auth/cert/certs/{name}");
    vault.expect("POST", &path, Some(role)).await;
}

async fn vault_with_cert(certificates: &Certificates) -> (Vault, Fixture, String) {
    let (vault, fixture, address) = vault_with_tls(certificates, "").await;
    vault.enable_auth("cert", "cert").await;
    (vault, fixture, address)
}

/// A daemon that logs in with the files that `keys` names.
fn by_cert(address: &str, fixture: &Fixture, ca: &Certificates, keys: &str) -> Builder {
    trusting(daemon_at(address, fixture), ca, NAMED)
        .extra(&format!("[auth]\nmethod = \"cert\"\n{keys}"))
}

fn file(certificates: &Certificates, key: &str, name: &str) -> String {
    format!("{key} = \"{}\"\n", certificates.path(name).display())
}

async fn works(daemon: &Daemon) {
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    client.encrypt(&SEED).await.unwrap();
}

async fn a_certificate_logs_in_from_one_file_or_two_with_and_without_a_role() {
    let certificates = Certificates::new();
    certificates.client("node-1");
    let (vault, fixture, address) = vault_with_cert(&certificates).await;
    role(&vault, "plugin", &certificates, &fixture, json!({})).await;
    let two = file(&certificates, "cert_file", "node-1.pem")
        + &file(&certificates, "key_file", "node-1.key");
    let one = file(&certificates, "cert_file", "node-1.both");
    for keys in [
        two,
        one.clone(),
        one.clone() + "role = \"plugin\"\nmount = \"cert\"",
        // Without a certificate in `[auth]` the one in `[vault]` is used.
        "[vault]\n".to_owned() + &file(&certificates, "client_cert_file", "node-1.both"),
    ] {
        let trace = "\n[log]\nlevel = \"trace\"";
        let daemon = by_cert(&address, &fixture, &certificates, &(keys + trace))
            .spawn()
            .await;
        works(&daemon).await;
        daemon.logged("private key file is world-readable").await;
        let key = std::fs::read_to_string(certificates.path("node-1.key")).unwrap();
        let secret = key.lines().nth(1).unwrap();
        assert!(!daemon.log().contains(secret), "{}", daemon.log());
    }

    let wrong = by_cert(
        &address,
        &fixture,
        &certificates,
        &(one + "role = \"other\""),
    );
    let daemon = wrong.spawn().await;
    let error = refused(&daemon).await;
    assert!(
        error.contains("role \"other\" of Vault holds the CA"),
        "{error}"
    );
}

async fn refused(daemon: &Daemon) -> String {
    let client = KmsClient::connect(daemon.socket());
    let error = client.encrypt(&SEED).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    error.message().to_owned()
}

async fn a_certificate_of_another_ca_is_reported_with_the_remedy_and_its_successor_works() {
    let certificates = Certificates::new();
    let stranger = Certificates::new();
    certificates.client("node-1");
    stranger.client("node-1");
    let (vault, fixture, address) = vault_with_cert(&certificates).await;
    role(&vault, "plugin", &certificates, &fixture, json!({})).await;
    let keys = file(&stranger, "cert_file", "node-1.both");
    let daemon = by_cert(&address, &fixture, &certificates, &keys)
        .spawn()
        .await;
    let error = refused(&daemon).await;
    let path = stranger.path("node-1.both");
    let remedy = format!("a role of Vault holds the CA of {}", path.display());
    assert!(error.contains(&remedy), "{error}");
    assert!(error.contains("auth.mount is \"cert\""), "{error}");
    std::fs::copy(certificates.path("node-1.both"), &path).unwrap();
    works(&daemon).await;
}

async fn the_next_login_presents_a_rotated_certificate() {
    let certificates = Certificates::new();
    let serials = ["node-1", "node-2"].map(|name| certificates.client(name));
    certificates.link("node-1.both", "current.pem");
    let (vault, fixture, address) = vault_with_cert(&certificates).await;
    let short = json!({ "token_ttl": "3s", "token_max_ttl": "3s" });
    role(&vault, "plugin", &certificates, &fixture, short).await;
    let keys = file(&certificates, "cert_file", "current.pem");
    let daemon = by_cert(&address, &fixture, &certificates, &keys)
        .spawn()
        .await;
    works(&daemon).await;
    assert_eq!(shown(&vault).await, [serials[0].clone()]);
    let pid = daemon.pid();
    certificates.link("node-2.both", "current.pem");
    let client = KmsClient::connect(daemon.socket());
    // Calls keep the connection with the old certificate open.
    wait::until_true("a login with the new serial number", LIMIT, async || {
        client.encrypt(&SEED).await.unwrap();
        shown(&vault).await.contains(&serials[1])
    })
    .await;
    assert_eq!(daemon.pid(), pid);
}

async fn a_renewal_that_vault_denies_to_a_rotated_certificate_is_followed_by_a_login() {
    let (certificates, next) = (Certificates::new(), Certificates::new());
    // Vault compares key and CA; a certificate of the same CA may renew.
    let [_, serial] = [(&certificates, "node-1"), (&next, "node-2")].map(|(ca, name)| {
        ca.issue(name, ExtendedKeyUsagePurpose::ClientAuth, |params| {
            params.use_authority_key_identifier_extension = true;
            // This also changes the identifier of the key.
            params.is_ca = IsCa::ExplicitNoCa;
        })
    });
    certificates.link("node-1.both", "current.pem");
    let (vault, fixture, address) = vault_with_cert(&certificates).await;
    let both = certificates.ca_pem() + &next.ca_pem();
    let renewable = json!({ "certificate": both, "token_ttl": "6s", "token_max_ttl": "1h" });
    role(&vault, "plugin", &certificates, &fixture, renewable).await;
    let keys = file(&certificates, "cert_file", "current.pem");
    let daemon = by_cert(&address, &fixture, &certificates, &keys)
        .spawn()
        .await;
    works(&daemon).await;
    certificates.link(next.path("node-2.both").to_str().unwrap(), "current.pem");
    let client = KmsClient::connect(daemon.socket());
    wait::until_true("a login with the new serial number", LIMIT, async || {
        client.encrypt(&SEED).await.unwrap();
        shown(&vault).await.contains(&serial)
    })
    .await;
    daemon
        .logged("client identity during renewal not matching")
        .await;
}

/// The serial numbers of the certificates with which the valid tokens were granted.
async fn shown(vault: &Vault) -> Vec<String> {
    let listed = vault.expect("LIST", "auth/token/accessors", None).await;
    let mut serials = Vec::new();
    for accessor in listed["data"]["keys"].as_array().unwrap() {
        let asked = Some(json!({ "accessor": accessor }));
        // It may have expired since.
        let (_, token) = vault
            .request("POST", "auth/token/lookup-accessor", asked)
            .await;
        serials.extend(
            token["data"]["meta"]["serial_number"]
                .as_str()
                .map(str::to_owned),
        );
    }
    serials.sort();
    serials.dedup();
    serials
}

tests! {
    single a_certificate_logs_in_from_one_file_or_two_with_and_without_a_role [Vault];
    single a_certificate_of_another_ca_is_reported_with_the_remedy_and_its_successor_works [Vault];
    single the_next_login_presents_a_rotated_certificate [Vault];
    single a_renewal_that_vault_denies_to_a_rotated_certificate_is_followed_by_a_login [Vault];
}
