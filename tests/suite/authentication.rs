//! Logging in: tokens, the Kubernetes method against a real kube-apiserver, renewal, re-login.

pub(crate) mod approle;
mod cert;
mod files;
mod kinds;
mod kubernetes;
pub(super) mod methods;
mod refusals;
mod renewal;
mod spiffe;
pub(crate) mod wrapped;

pub(super) use methods::{SUBJECT, signed, signed_until};
use serde_json::json;
use tonic::Code;

use super::harness::daemon::Daemon;
use super::harness::kms::KmsClient;
use super::harness::proxy::Proxy;
use super::harness::vault::Vault;
use super::harness::wait;
use super::{LIMIT, daemon_for};

const SEED: [u8; 32] = [9; 32];

/// Waits until a call is refused with this code and all of these texts. On a slow machine the
/// deadline of a call may come before the reason is known.
pub(super) async fn refused(daemon: &Daemon, code: Code, texts: &[&str]) {
    let client = KmsClient::connect(daemon.socket());
    let what = format!("a refusal with {code:?} that says {texts:?}");
    wait::until_true(&what, LIMIT, async || {
        let error = client.encrypt(&SEED).await.err();
        error.is_some_and(|error| {
            error.code() == code && texts.iter().all(|text| error.message().contains(text))
        })
    })
    .await;
}

async fn a_token_is_renewed_while_possible_and_then_replaced_from_the_file() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let request = json!({ "policies": [fixture.policy], "ttl": "4s", "explicit_max_ttl": "12s", "renewable": true });
    let token = vault.create_token(request.clone()).await;
    let proxy = Proxy::start(vault.socket_address());
    let daemon = daemon_for(&proxy.address(), &fixture)
        .token(&token)
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    // As an agent does: the next token is in the file well before the first one expires.
    let next = vault
        .create_token(json!({ "policies": [fixture.policy], "ttl": "1h" }))
        .await;
    wait::until("two renewals", LIMIT, async || {
        client.encrypt(&SEED).await.unwrap();
        (proxy.count("/v1/auth/token/renew-self") >= 2).then_some(())
    })
    .await;
    daemon.write_token(&next);
    wait::until("the second login", LIMIT, async || {
        client.encrypt(&SEED).await.unwrap();
        let logins = daemon.log().matches("logged in to Vault").count();
        (logins >= 2).then_some(())
    })
    .await;
    vault.revoke(&token).await;
    client.encrypt(&SEED).await.unwrap();
}

async fn a_revoked_token_is_noticed_and_the_file_is_read_again() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let next = vault
        .create_token(json!({ "policies": [fixture.policy] }))
        .await;
    daemon.write_token(&next);
    vault.revoke(&fixture.token).await;
    // Even the call that finds the token revoked succeeds.
    client.encrypt(&SEED).await.unwrap();
}

async fn a_wrong_token_is_reported_and_a_right_one_works_without_a_restart() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture)
        .token("hvs.wrong")
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    let error = client.status().await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    assert!(
        error.message().contains("put a valid token into"),
        "{error}"
    );
    assert!(!error.message().contains("hvs.wrong"), "{error}");
    daemon.write_token(&fixture.token);
    client.wait_ok(LIMIT).await;
}

async fn a_missing_or_empty_token_file_is_reported() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    for (content, cause) in [(None, "cannot be opened"), (Some(" \n"), "is empty")] {
        let daemon = daemon_for(&vault.address(), &fixture).spawn_raw();
        daemon.kill();
        let path = daemon.token_path();
        match content {
            None => std::fs::remove_file(&path).unwrap(),
            Some(text) => std::fs::write(&path, text).unwrap(),
        }
        daemon.restart().await;
        let client = KmsClient::connect(daemon.socket());
        let texts = ["auth.token_file", cause, path.to_str().unwrap()];
        refused(&daemon, Code::PermissionDenied, &texts).await;
        daemon.write_token(&fixture.token);
        client.wait_ok(LIMIT).await;
    }
}

async fn a_denied_policy_is_a_verdict_that_names_the_capability() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let token = vault.create_token(json!({ "policies": ["default"] })).await;
    let daemon = daemon_for(&vault.address(), &fixture)
        .token(&token)
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket()).with_timeout(LIMIT);
    let error = client.encrypt(&SEED).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    assert!(error.message().contains("`update` on"), "{error}");
    assert_eq!(
        client.status().await.unwrap_err().code(),
        Code::PermissionDenied
    );
    // The remedy works without a restart: the same token, another policy.
    daemon.write_token(&fixture.token);
    vault.revoke(&token).await;
    client.wait_ok(LIMIT).await;
}

tests! {
    [cert, files, kinds, kubernetes, methods, refusals, renewal, spiffe, wrapped]
    single a_token_is_renewed_while_possible_and_then_replaced_from_the_file [Vault];
    single a_revoked_token_is_noticed_and_the_file_is_read_again [Vault];
    single a_wrong_token_is_reported_and_a_right_one_works_without_a_restart [Vault];
    single a_missing_or_empty_token_file_is_reported [Vault];
    single a_denied_policy_is_a_verdict_that_names_the_capability [Vault];
}
