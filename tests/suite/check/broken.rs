//! Setups with the mistakes of new operators, on a real Vault: `check` alone names the cause and the
//! remedy. docs/troubleshooting.md shows each.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use serde_json::json;

use super::super::authentication::signed;
use super::super::harness::certificates::Certificates;
use super::super::harness::vault::{Vault, plugin_policy};
use super::super::tls::{NAMED, trusting, vault_with_tls};
use super::super::{daemon_at, daemon_for};
use super::page::shows;
use super::{encryption, proven};

/// Until when a certificate of the harness is valid, and one of an operator.
pub(super) const END: (&str, &str) = ("4096-01-01T00:00:00Z", "2027-11-23T10:00:00Z");

async fn a_ca_that_is_not_vaults_is_named_with_the_right_one() {
    let (certificates, stranger) = (Certificates::new(), Certificates::new());
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let builder = trusting(daemon_for(&address, &fixture), &stranger, NAMED);
    let said = proven(builder, &[]).await;
    let remedy = format!(
        "if CN={} issued the certificate of your Vault, put its own into vault.ca_file",
        certificates.name()
    );
    said.ends_with(69).names("unknown issuer", &remedy);
    shows("The CA is not Vault's", "", &said, &fixture, &[END]);
}

async fn a_certificate_for_another_name_is_named_with_both() {
    let certificates = Certificates::new();
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let builder = trusting(daemon_for(&address, &fixture), &certificates, "");
    let said = proven(builder, &[]).await;
    let cause = "is for vault.example and not for 127.0.0.1";
    said.ends_with(69)
        .names(cause, "set vault.tls_server_name or the address");
    shows(
        "The certificate is for another name",
        "",
        &said,
        &fixture,
        &[END],
    );
}

async fn an_expired_certificate_is_reported_with_its_end() {
    let certificates = Certificates::new();
    let late = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 2, 3);
    };
    certificates.issue("vault.example", ExtendedKeyUsagePurpose::ServerAuth, late);
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let builder = trusting(daemon_for(&address, &fixture), &certificates, NAMED);
    let said = proven(builder, &[]).await;
    let cause = "valid until 2021-02-03T00:00:00Z: expired";
    said.ends_with(69).names(cause, "renew it on the server");
    shows("The certificate has expired", "", &said, &fixture, &[]);
}

async fn a_sealed_vault_is_reported() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    vault.seal().await;
    let said = proven(daemon_for(&vault.address(), &fixture), &[]).await;
    said.ends_with(69)
        .names("Vault is sealed", "unseal it")
        .says("✓ socket: ");
    shows("Vault is sealed", "", &said, &fixture, &[]);
}

async fn a_missing_role_is_reported() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let (key, mount) = (
        KeyPair::generate().unwrap(),
        format!("jwt-{}", fixture.mount),
    );
    vault.enable_auth("jwt", &mount).await;
    let config = json!({ "jwt_validation_pubkeys": [key.public_key_pem()] });
    vault
        .expect("POST", &format!("auth/{mount}/config"), Some(config))
        .await;
    let builder = daemon_at(&vault.address(), &fixture);
    let file = builder.write_file("jwt", &signed(&key, "issuer", "subject", "vault"));
    let auth = format!(
        "[auth]\nmethod = \"jwt\"\nmount = \"{mount}\"\nrole = \"kms-plugin\"\njwt_file = {file:?}"
    );
    let said = proven(builder.extra(&auth), &[]).await;
    let cause = "HTTP 400: role \"kms-plugin\" could not be found";
    said.ends_with(69)
        .names(cause, "that role \"kms-plugin\" binds the subject");
    let names = [(mount.as_str(), "jwt")];
    shows("The role does not exist", "", &said, &fixture, &names);
}

async fn a_policy_without_decrypt_is_reported_with_the_path() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let whole = plugin_policy(&fixture.mount, &fixture.key);
    let without: Vec<_> = whole
        .lines()
        .filter(|line| !line.contains("/decrypt/"))
        .collect();
    vault
        .write_policy(&fixture.policy, &without.join("\n"))
        .await;
    let said = proven(daemon_for(&vault.address(), &fixture), &[]).await;
    let path = format!("{}/decrypt/kms", fixture.mount);
    let missing = format!("does not grant `update` on {path}");
    let denied = format!("round trip: vault: {path}: HTTP 403");
    said.ends_with(69)
        .names(&missing, "grant it (deploy/policy.hcl")
        .names(&denied, "has to grant `update`");
    shows(
        "The policy does not grant decrypt",
        "",
        &said,
        &fixture,
        &[],
    );
}

async fn a_missing_key_is_reported_and_not_created() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    vault.delete_key(&fixture.mount, &fixture.key).await;
    // With this policy an Encrypt would create the key.
    let policy = plugin_policy(&fixture.mount, &fixture.key);
    let careless = policy.replace("[\"update\"]", "[\"create\", \"update\"]");
    vault.write_policy(&fixture.policy, &careless).await;
    let said = proven(daemon_for(&vault.address(), &fixture), &[]).await;
    said.ends_with(69)
        .says("a mistyped key name would create a new key");
    vault.write_policy(&fixture.policy, &policy).await;
    let said = proven(daemon_for(&vault.address(), &fixture), &[]).await;
    let mount = &fixture.mount;
    let remedy = format!(
        "there is no transit key {mount}/kms: restore it, or create it if nothing was ever encrypted with it, or correct transit.key"
    );
    said.ends_with(69).names("/keys/kms: HTTP 404", &remedy);
    let path = format!("{mount}/keys/kms");
    assert_eq!(vault.request("GET", &path, None).await.0, 404);
    shows("The key does not exist", "", &said, &fixture, &[]);
}

async fn a_derived_key_is_reported() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    vault.delete_key(&fixture.mount, &fixture.key).await;
    let derived = json!({ "derived": true });
    vault
        .create_key_with(&fixture.mount, &fixture.key, derived)
        .await;
    let said = proven(daemon_for(&vault.address(), &fixture), &[]).await;
    let cause = "it is a derived key, which needs a context";
    said.ends_with(69)
        .names(cause, "create one with derived=false");
    shows("The key is derived", "", &said, &fixture, &[]);
}

async fn a_missing_directory_of_the_socket_is_reported() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = daemon_for(&vault.address(), &fixture);
    let socket = builder.dir().join("typo/kms.sock").display().to_string();
    let state = format!("[state]\ndir = {:?}", builder.dir());
    let builder = builder.listen(&socket).extra(&state);
    let said = proven(builder, &[]).await;
    said.ends_with(78)
        .names("/typo: No such file or directory", "create that directory")
        .says("✓ round trip: ");
    shows(
        "The socket's directory is missing",
        "",
        &said,
        &fixture,
        &[],
    );
}

async fn an_endpoint_that_is_another_socket_is_reported_with_the_right_one() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = daemon_for(&vault.address(), &fixture);
    let remedy = format!(
        "set `endpoint: unix://{}` there",
        builder.socket().display()
    );
    let file = encryption::written(&builder, "unix:///var/run/kms.sock", "v2");
    let said = proven(builder, &["--encryption-config", &file]).await;
    let cause =
        "the endpoint unix:///var/run/kms.sock of provider \"vault\" is not this plugin's socket";
    said.ends_with(78).names(cause, &remedy);
    let section = "kube-apiserver's endpoint is another socket";
    let more = " --encryption-config /etc/vault-kms-plugin/encryption.yaml";
    shows(section, more, &said, &fixture, &[]);
}

tests! {
    single a_ca_that_is_not_vaults_is_named_with_the_right_one [Vault];
    single a_certificate_for_another_name_is_named_with_both [Vault];
    single an_expired_certificate_is_reported_with_its_end [Vault];
    single a_sealed_vault_is_reported [Vault];
    single a_missing_role_is_reported [Vault];
    single a_policy_without_decrypt_is_reported_with_the_path [Vault];
    single a_missing_key_is_reported_and_not_created [Vault];
    single a_derived_key_is_reported [Vault];
    single a_missing_directory_of_the_socket_is_reported [Vault];
    single an_endpoint_that_is_another_socket_is_reported_with_the_right_one [Vault];
}
