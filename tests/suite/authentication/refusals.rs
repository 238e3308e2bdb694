//! 403: whether the token or the path is refused, and what happens to the credentials meanwhile.

use futures_util::future::join_all;
use serde_json::json;
use tonic::Code;

use super::SEED;
use super::approle::AppRole;
use super::methods::works;
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::vault::{Fixture, Vault};
use crate::harness::wait;
use crate::{LIMIT, daemon_for};

/// A daemon with a token of its own, behind a proxy that counts.
async fn logged_in(vault: &Vault) -> (Fixture, AppRole, Proxy, Daemon, KmsClient) {
    let fixture = vault.fixture().await;
    let approle = AppRole::new(vault, &fixture, json!({})).await;
    let proxy = Proxy::start(vault.socket_address());
    let daemon = approle.daemon(&proxy.address(), &fixture).0.spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    (fixture, approle, proxy, daemon, client)
}

async fn an_invalid_token_causes_one_login_that_all_waiting_calls_share() {
    let vault = Vault::shared().await;
    let (_fixture, approle, proxy, _daemon, client) = logged_in(vault).await;
    for round in 1..=3 {
        vault.revoke(&proxy.last_token()).await;
        proxy.reset_counts();
        let calls = join_all((0..50).map(|_| client.encrypt(&SEED))).await;
        let failed: Vec<_> = calls.into_iter().filter_map(Result::err).collect();
        assert!(failed.is_empty(), "round {round}: {failed:?}");
        assert_eq!(proxy.count(&approle.login_path()), 1, "round {round}");
    }
}

async fn a_denied_path_under_load_is_reported_and_causes_no_storm_of_logins() {
    let vault = Vault::shared().await;
    let (fixture, approle, proxy, _daemon, client) = logged_in(vault).await;
    let path = format!("{}/encrypt/{}", fixture.mount, fixture.key);
    proxy.reset_counts();
    // The text of a policy denial, and the one that OpenBao also returns for an invalid token.
    for words in [
        "1 error occurred:\n\t* permission denied\n\n",
        "permission denied",
    ] {
        proxy.fault("/encrypt/", Fault::error(403, words));
        for _ in 0..5 {
            for refused in join_all((0..20).map(|_| client.encrypt(&SEED))).await {
                let error = refused.unwrap_err();
                assert_eq!(error.code(), Code::PermissionDenied, "{error}");
                let said = error.message();
                assert!(
                    said.contains(&path) && said.contains("`update` on"),
                    "{said}"
                );
            }
        }
    }
    // A slow machine may see the one login that a lasting denial causes.
    let logins = proxy.count(&approle.login_path());
    assert!(logins <= 1, "{logins} logins");
}

async fn an_invalid_token_of_a_role_without_the_default_policy_is_noticed() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let bare = json!({ "policies": [fixture.policy], "no_default_policy": true, "ttl": "1h" });
    let token = vault.create_token(bare.clone()).await;
    let daemon = daemon_for(&vault.address(), &fixture)
        .token(&token)
        .spawn()
        .await;
    works(&daemon).await;
    daemon.write_token(&vault.create_token(bare).await);
    vault.revoke(&token).await;
    let client = KmsClient::connect(daemon.socket());
    client.encrypt(&SEED).await.unwrap();
}

async fn corrected_policies_of_a_role_take_effect_without_a_restart() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let wrong = json!({ "token_policies": ["default"] });
    let approle = AppRole::new(vault, &fixture, wrong).await;
    let daemon = approle.daemon(&vault.address(), &fixture).0.spawn().await;
    let client = KmsClient::connect(daemon.socket());
    wait::until_true("the verdict", LIMIT, async || {
        let status = client.status().await;
        status.is_err_and(|error| error.code() == Code::PermissionDenied)
    })
    .await;
    let path = format!("auth/{}/role/plugin/policies", approle.mount);
    let right = json!({ "token_policies": [fixture.policy] });
    vault.expect("POST", &path, Some(right)).await;
    // The token keeps the policies of its login, so another token is needed.
    client.wait_ok(LIMIT * 2).await;
}

async fn a_removed_auth_mount_is_reported_and_its_return_is_noticed() {
    let vault = Vault::shared().await;
    let (fixture, approle, _proxy, _daemon, client) = logged_in(vault).await;
    let mount = format!("sys/auth/{}", approle.mount);
    // This revokes its tokens.
    vault.expect("DELETE", &mount, None).await;
    let error = wait::until("calls to fail", LIMIT, async || {
        client.encrypt(&SEED).await.err()
    })
    .await;
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    assert!(error.message().contains("check auth.mount"), "{error}");
    vault.enable_auth("approle", &approle.mount).await;
    let role = format!("auth/{}/role/plugin", approle.mount);
    let same = [
        (role.clone(), json!({ "token_policies": [fixture.policy] })),
        (
            format!("{role}/role-id"),
            json!({ "role_id": approle.role_id }),
        ),
        (
            format!("{role}/custom-secret-id"),
            json!({ "secret_id": approle.secret_id }),
        ),
    ];
    for (path, body) in same {
        vault.expect("POST", &path, Some(body)).await;
    }
    // Nothing notifies the daemon; it retries at least every ten seconds.
    wait::until("calls to work", LIMIT, async || {
        client.encrypt(&SEED).await.ok()
    })
    .await;
}

async fn a_destroyed_secret_id_is_reported_and_the_next_one_in_its_file_works() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let approle = AppRole::short(vault, &fixture, 3, 3).await;
    let proxy = Proxy::start(vault.socket_address());
    let (builder, file) = approle.daemon(&proxy.address(), &fixture);
    let daemon = builder.spawn().await;
    works(&daemon).await;
    let path = format!("auth/{}/role/plugin/secret-id", approle.mount);
    let old = json!({ "secret_id": approle.secret_id });
    vault
        .expect("POST", &format!("{path}/destroy"), Some(old))
        .await;
    daemon
        .logged("Vault rejected the credentials: no further login until")
        .await;
    let refused = proxy.count(&approle.login_path());
    let client = KmsClient::connect(daemon.socket());
    let error = wait::until("the session's end", LIMIT, async || {
        client.encrypt(&SEED).await.err()
    })
    .await;
    assert!(error.message().contains(file.to_str().unwrap()), "{error}");
    assert_eq!(proxy.count(&approle.login_path()), refused);
    let next = vault.expect("POST", &path, Some(json!({}))).await;
    std::fs::write(&file, next["data"]["secret_id"].as_str().unwrap()).unwrap();
    works(&daemon).await;
}

tests! {
    single an_invalid_token_causes_one_login_that_all_waiting_calls_share [Vault];
    single a_denied_path_under_load_is_reported_and_causes_no_storm_of_logins [Vault];
    single an_invalid_token_of_a_role_without_the_default_policy_is_noticed [Vault];
    single corrected_policies_of_a_role_take_effect_without_a_restart [Vault];
    single a_removed_auth_mount_is_reported_and_its_return_is_noticed [Vault];
    single a_destroyed_secret_id_is_reported_and_the_next_one_in_its_file_works [Vault];
}
