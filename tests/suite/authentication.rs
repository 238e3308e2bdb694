//! Logging in: tokens, the Kubernetes method against a real kube-apiserver, renewal, re-login.

mod cert;
mod methods;

use serde_json::json;
use tonic::Code;

use super::harness::kms::KmsClient;
use super::harness::kubernetes::{Etcd, KubeApiserver};
use super::harness::proxy::Proxy;
use super::harness::vault::Vault;
use super::harness::wait;
use super::{LIMIT, daemon_at, daemon_for};

const SEED: [u8; 32] = [9; 32];

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_token_is_renewed_until_it_cannot_be_and_then_read_again() {
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
    // As an agent does: the next token is in the file well before the first one ends.
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
        let logins = daemon.log().matches("logged in to vault").count();
        (logins >= 2).then_some(())
    })
    .await;
    vault.revoke(&token).await;
    client.encrypt(&SEED).await.unwrap();
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_revoked_token_is_noticed_and_the_file_read_again() {
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
    // The very call that meets the dead token succeeds.
    client.encrypt(&SEED).await.unwrap();
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_wrong_token_is_told_and_a_right_one_helps_without_a_restart() {
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

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_missing_or_empty_token_file_is_named() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = daemon_for(&vault.address(), &fixture);
    let daemon = builder.spawn().await;
    let path = daemon.token_path();
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
        let error = client.encrypt(&SEED).await.unwrap_err();
        let said = error.message();
        assert!(
            said.contains("auth.token_file") && said.contains(cause),
            "{error}"
        );
        assert!(said.contains(path.to_str().unwrap()), "{error}");
        daemon.write_token(&fixture.token);
        client.wait_ok(LIMIT).await;
    }
    assert!(path.exists());
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
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
    // The mend helps without a restart: the same token, another policy.
    daemon.write_token(&fixture.token);
    vault.revoke(&token).await;
    client.wait_ok(LIMIT).await;
}

#[tokio::test]
#[cfg_attr(
    any(no_vault, no_kubernetes),
    ignore = "needs Vault, kube-apiserver and etcd: set VAULT_BIN, KUBE_APISERVER_BIN and ETCD_BIN, or install Go"
)]
async fn the_kubernetes_method_logs_in_through_a_real_token_review() {
    let etcd = Etcd::start().await;
    let kubernetes = KubeApiserver::start(&etcd, None, None).await;
    kubernetes
        .create_service_account("kube-system", "vault-kms-plugin")
        .await;
    kubernetes
        .create_service_account("kube-system", "reviewer")
        .await;
    kubernetes
        .bind_token_reviewer("kube-system", "reviewer")
        .await;
    let reviewer = kubernetes
        .token_request("kube-system", "reviewer", &[])
        .await;
    let jwt = kubernetes
        .token_request("kube-system", "vault-kms-plugin", &[])
        .await;

    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let mount = format!("kubernetes-{}", fixture.mount.replace('/', "-"));
    vault.enable_auth("kubernetes", &mount).await;
    let reach = json!({
        "kubernetes_host": kubernetes.address(),
        "kubernetes_ca_cert": kubernetes.ca_pem(),
        "token_reviewer_jwt": reviewer,
    });
    vault
        .expect("POST", &format!("auth/{mount}/config"), Some(reach))
        .await;
    let role = json!({
        "bound_service_account_names": ["vault-kms-plugin"],
        "bound_service_account_namespaces": ["kube-system"],
        "token_policies": [fixture.policy],
        "token_ttl": "3s",
        "token_max_ttl": "6s",
    });
    vault
        .expect("POST", &format!("auth/{mount}/role/plugin"), Some(role))
        .await;

    let builder = daemon_at(&vault.address(), &fixture);
    let jwt_file = builder.write_file("jwt", "not-a-token-yet\n");
    let auth = format!(
        "[auth]\nmethod = \"kubernetes\"\nmount = \"{mount}\"\nrole = \"plugin\"\njwt_file = \"{}\"",
        jwt_file.display()
    );
    let daemon = builder.extra(&auth).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    let error = client.encrypt(&SEED).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    assert!(error.message().contains("role \"plugin\""), "{error}");

    // The file is read at every login: nothing has to be told.
    std::fs::write(&jwt_file, &jwt).unwrap();
    client.wait_ok(LIMIT).await;
    // Max TTL is 6 s: the token is renewed and then replaced by new logins, and no call fails.
    wait::until("three logins", LIMIT, async || {
        client.encrypt(&SEED).await.unwrap();
        (daemon.log().matches("logged in to vault").count() >= 3).then_some(())
    })
    .await;
    let log = daemon.log();
    assert!(
        !log.contains(&jwt) && !log.contains("no longer knows the token"),
        "{log}"
    );
}
