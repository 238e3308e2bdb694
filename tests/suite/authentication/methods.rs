//! AppRole, JWT and userpass on a real Vault: each way to log in, and the effect of a rejection.

use std::path::PathBuf;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::KeyPair;
use rustix::process::Signal;
use serde_json::{Value, json};
use tonic::Code;

use super::super::harness::daemon::Daemon;
use super::super::harness::kms::KmsClient;
use super::super::harness::proxy::Proxy;
use super::super::harness::vault::{Fixture, Vault};
use super::super::harness::wait;
use super::super::{LIMIT, daemon_at};
use super::{SEED, refused};

const ISSUER: &str = "https://kubernetes.default.svc";
pub(crate) const SUBJECT: &str = "system:serviceaccount:kube-system:vault-kms-plugin";

/// Mounts an auth method of this kind at a path of several segments, which no other test uses.
pub(super) async fn mounted(vault: &Vault, kind: &str, fixture: &Fixture) -> String {
    let mount = format!("team/{kind}/{}", fixture.mount.replace('/', "-"));
    vault.enable_auth(kind, &mount).await;
    mount
}

/// Creates the role `plugin` of an AppRole mount. Returns its role_id.
pub(super) async fn role(vault: &Vault, mount: &str, fixture: &Fixture, more: Value) -> String {
    let mut role = json!({ "token_policies": [fixture.policy], "token_ttl": "1h" });
    role.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let path = format!("auth/{mount}/role/plugin");
    vault.expect("POST", &path, Some(role)).await;
    let answer = vault.expect("GET", &format!("{path}/role-id"), None).await;
    answer["data"]["role_id"].as_str().unwrap().to_owned()
}

pub(super) async fn secret_id(vault: &Vault, mount: &str) -> String {
    let path = format!("auth/{mount}/role/plugin/secret-id");
    let answer = vault.expect("POST", &path, Some(json!({}))).await;
    answer["data"]["secret_id"].as_str().unwrap().to_owned()
}

/// A daemon that logs in to a role with a secret_id from a file, and that file.
async fn by_approle(
    address: &str,
    fixture: &Fixture,
    mount: &str,
    role_id: &str,
    secret_id: &str,
) -> (Daemon, PathBuf) {
    let builder = daemon_at(address, fixture);
    let file = builder.write_file("secret-id", secret_id);
    let auth = format!(
        "[auth]\nmethod = \"approle\"\nmount = \"{mount}\"\nrole_id = \"{role_id}\"\nsecret_id_file = \"{}\"",
        file.display()
    );
    (builder.extra(&auth).spawn().await, file)
}

pub(crate) async fn works(daemon: &Daemon) {
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    client.encrypt(&SEED).await.unwrap();
}

async fn approle_logs_in_with_ids_from_files_from_values_and_without_a_secret_id() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let mount = mounted(vault, "approle", &fixture).await;
    let role_id = role(vault, &mount, &fixture, json!({})).await;
    let secret = secret_id(vault, &mount).await;

    let builder = daemon_at(&vault.address(), &fixture);
    let (role_file, secret_file) = (
        builder.write_file("role-id", &format!("{role_id}\n")),
        builder.write_file("secret-id", &format!("  {secret}\n")),
    );
    let files = format!(
        "[auth]\nmethod = \"approle\"\nmount = \"/{mount}/\"\nrole_id_file = \"{}\"\nsecret_id_file = \"{}\"",
        role_file.display(),
        secret_file.display()
    );
    works(&builder.extra(&files).spawn().await).await;

    let values = format!(
        "[auth]\nmethod = \"approle\"\nmount = \"{mount}\"\nrole_id = \"{role_id}\"\nsecret_id = \"{secret}\"\n[log]\nlevel = \"trace\""
    );
    let daemon = daemon_at(&vault.address(), &fixture)
        .extra(&values)
        .spawn()
        .await;
    works(&daemon).await;
    daemon
        .logged("auth.secret_id: a secret in the configuration")
        .await;
    assert!(!daemon.log().contains(&secret), "{}", daemon.log());

    let open = json!({ "bind_secret_id": false, "token_bound_cidrs": "127.0.0.1/32" });
    role(vault, &mount, &fixture, open).await;
    let alone =
        format!("[auth]\nmethod = \"approle\"\nmount = \"{mount}\"\nrole_id = \"{role_id}\"");
    let daemon = daemon_at(&vault.address(), &fixture)
        .extra(&alone)
        .spawn()
        .await;
    works(&daemon).await;
}

async fn three_nodes_with_a_wrong_secret_id_do_not_lock_their_role_out() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let mount = mounted(vault, "approle", &fixture).await;
    let role_id = role(vault, &mount, &fixture, json!({})).await;
    let proxy = Proxy::start(vault.socket_address());
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(by_approle(&proxy.address(), &fixture, &mount, &role_id, "wrong").await);
    }
    for (node, file) in &nodes {
        node.logged("Vault rejected the credentials: no further login until")
            .await;
        // Calls do not cause another attempt.
        let client = KmsClient::connect(node.socket());
        let error = client.encrypt(&SEED).await.unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied, "{error}");
        let said = error.message();
        assert!(said.contains(file.to_str().unwrap()), "{said}");
    }
    let logins = format!("/v1/auth/{mount}/login");
    assert_eq!(proxy.count(&logins), 3);
    // If the role were locked out, the right one would be rejected too.
    for (node, file) in &nodes {
        std::fs::write(file, secret_id(vault, &mount).await).unwrap();
        works(node).await;
    }
    assert_eq!(proxy.count(&logins), 6);
}

async fn an_exhausted_secret_id_is_tried_once_even_after_the_session_has_expired() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let mount = mounted(vault, "approle", &fixture).await;
    let short = json!({ "token_ttl": "4s", "token_max_ttl": "4s", "secret_id_num_uses": 1 });
    let role_id = role(vault, &mount, &fixture, short).await;
    let proxy = Proxy::start(vault.socket_address());
    let secret = secret_id(vault, &mount).await;
    let (daemon, file) = by_approle(&proxy.address(), &fixture, &mount, &role_id, &secret).await;
    works(&daemon).await;
    daemon
        .logged("Vault rejected the credentials: no further login until")
        .await;
    let client = KmsClient::connect(daemon.socket());
    // The session is valid for a moment; its expiry does not cause another attempt.
    for _ in 0..2 {
        wait::until_true("calls to fail", LIMIT, async || {
            let refused = client.encrypt(&SEED).await.err();
            refused.is_some_and(|error| error.code() == Code::PermissionDenied)
        })
        .await;
    }
    let logins = format!("/v1/auth/{mount}/login");
    assert_eq!(proxy.count(&logins), 2);
    std::fs::write(&file, secret_id(vault, &mount).await).unwrap();
    works(&daemon).await;
    assert_eq!(proxy.count(&logins), 3);
}

async fn sighup_retries_rejected_credentials() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let mount = mounted(vault, "userpass", &fixture).await;
    let builder = daemon_at(&vault.address(), &fixture);
    let file = builder.write_file("password", "correct horse, ünïcode\n");
    let auth = format!(
        "[auth]\nmethod = \"userpass\"\nmount = \"{mount}\"\nusername = \"plugin\"\npassword_file = \"{}\"\n[log]\nlevel = \"trace\"",
        file.display()
    );
    let daemon = builder.extra(&auth).spawn().await;
    daemon
        .logged("Vault rejected the credentials: no further login until")
        .await;
    let user = json!({ "password": "correct horse, ünïcode", "token_policies": [fixture.policy] });
    vault
        .expect("POST", &format!("auth/{mount}/users/plugin"), Some(user))
        .await;
    daemon.signal(Signal::HUP);
    works(&daemon).await;
    assert!(!daemon.log().contains("correct horse"), "{}", daemon.log());
}

async fn a_jwt_is_verified_with_the_issuers_key_and_read_again_after_a_rejection() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let mount = mounted(vault, "jwt", &fixture).await;
    let key = KeyPair::generate().unwrap();
    let config = json!({ "jwt_validation_pubkeys": [key.public_key_pem()] });
    vault
        .expect("POST", &format!("auth/{mount}/config"), Some(config))
        .await;
    let role = json!({
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["vault"],
        "bound_subject": SUBJECT,
        "token_policies": [fixture.policy],
    });
    vault
        .expect("POST", &format!("auth/{mount}/role/plugin"), Some(role))
        .await;
    let builder = daemon_at(&vault.address(), &fixture);
    let file = builder.write_file("jwt", &signed(&key, ISSUER, SUBJECT, "another audience"));
    let auth = format!(
        "[auth]\nmethod = \"jwt\"\nmount = \"{mount}\"\nrole = \"plugin\"\njwt_file = \"{}\"",
        file.display()
    );
    let daemon = builder.extra(&auth).spawn().await;
    refused(&daemon, Code::PermissionDenied, &["role \"plugin\""]).await;
    // No lockout here: the login is retried soon, with the file as it is then.
    let jwt = signed(&key, ISSUER, SUBJECT, "vault");
    std::fs::write(&file, &jwt).unwrap();
    works(&daemon).await;
    assert!(!daemon.log().contains(&jwt), "{}", daemon.log());
}

async fn a_token_of_a_login_is_revoked_once_it_is_replaced_and_at_the_end() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let mount = mounted(vault, "approle", &fixture).await;
    let short = json!({ "token_ttl": "3s", "token_max_ttl": "6s" });
    let role_id = role(vault, &mount, &fixture, short).await;
    let proxy = Proxy::start(vault.socket_address());
    let secret = secret_id(vault, &mount).await;
    let (daemon, _file) = by_approle(&proxy.address(), &fixture, &mount, &role_id, &secret).await;
    works(&daemon).await;
    let revoked = || {
        let mut seen = proxy.requests();
        seen.retain(|seen| seen.path == "/v1/auth/token/revoke-self");
        seen
    };
    wait::until_true("a token that was replaced is revoked", LIMIT, async || {
        !revoked().is_empty()
    })
    .await;
    assert_eq!(daemon.stop().await, 0);
    let tokens: Vec<_> = revoked()
        .iter()
        .map(|seen| seen.headers["x-vault-token"].to_str().unwrap().to_owned())
        .collect();
    assert!(tokens.len() >= 2, "{} tokens", tokens.len());
    for token in tokens {
        let looked = Some(json!({ "token": token }));
        let (status, answer) = vault.request("POST", "auth/token/lookup", looked).await;
        assert_eq!(status, 403, "{answer}");
    }
}

/// A JWT of this subject, as a cluster or a SPIFFE agent signs them.
pub(crate) fn signed(key: &KeyPair, issuer: &str, subject: &str, audience: &str) -> String {
    signed_until(key, issuer, subject, audience, 3600)
}

/// The same with an end in so many seconds; it was issued an hour before that.
pub(crate) fn signed_until(
    key: &KeyPair,
    issuer: &str,
    subject: &str,
    audience: &str,
    seconds: i64,
) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        .cast_signed();
    let claims = json!({
        "iss": issuer,
        "sub": subject,
        "aud": [audience],
        "iat": now + seconds - 3600,
        "exp": now + seconds,
    });
    let encoded = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = encoded(json!({ "alg": "ES256", "typ": "JWT" }));
    let text = format!("{head}.{}", encoded(claims));
    let random = SystemRandom::new();
    let pkcs8 = key.serialize_der();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).unwrap();
    let signature = key.sign(&random, text.as_bytes()).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

tests! {
    single approle_logs_in_with_ids_from_files_from_values_and_without_a_secret_id [Vault];
    single three_nodes_with_a_wrong_secret_id_do_not_lock_their_role_out [Vault];
    single an_exhausted_secret_id_is_tried_once_even_after_the_session_has_expired [Vault];
    single sighup_retries_rejected_credentials [Vault];
    single a_jwt_is_verified_with_the_issuers_key_and_read_again_after_a_rejection [Vault];
    single a_token_of_a_login_is_revoked_once_it_is_replaced_and_at_the_end [Vault];
}
