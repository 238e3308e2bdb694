//! The kinds of Vault tokens, each as an operator may put it into the file.

use serde_json::{Value, json};
use tonic::Code;

use super::super::harness::kms::KmsClient;
use super::super::harness::proxy::Proxy;
use super::super::harness::vault::{Fixture, Vault};
use super::super::harness::wait;
use super::super::{LIMIT, daemon_at, daemon_for};
use super::methods::{mounted, role, secret_id, works};
use super::{SEED, refused};

const RENEW: &str = "/v1/auth/token/renew-self";
const LOOKUP: &str = "/v1/auth/token/lookup-self";

async fn token(vault: &Vault, fixture: &Fixture, more: Value) -> String {
    let mut request = json!({ "policies": [fixture.policy] });
    let more = more.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(more);
    vault.create_token(request).await
}

async fn a_periodic_token_outlives_its_period_and_is_not_read_again() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let periodic = token(vault, &fixture, json!({ "period": "10s" })).await;
    let proxy = Proxy::start(vault.socket_address());
    let daemon = daemon_for(&proxy.address(), &fixture)
        .token(&periodic)
        .spawn()
        .await;
    works(&daemon).await;
    std::fs::remove_file(daemon.token_path()).unwrap();
    let client = KmsClient::connect(daemon.socket());
    // Each renewal is at about 70 % of the period.
    wait::until_true("three renewals", LIMIT, async || {
        client.encrypt(&SEED).await.unwrap();
        proxy.count(RENEW) >= 3
    })
    .await;
    assert_eq!(proxy.count(LOOKUP), 1);
    assert!(!daemon.log().contains("login to Vault failed"));
}

async fn a_token_that_cannot_be_renewed_is_replaced_from_the_file_before_it_expires() {
    let vault = Vault::shared().await;
    for kind in [
        json!({ "type": "batch", "ttl": "10s" }),
        json!({ "renewable": false, "ttl": "10s" }),
    ] {
        let fixture = vault.fixture().await;
        let first = token(vault, &fixture, kind.clone()).await;
        let proxy = Proxy::start(vault.socket_address());
        let daemon = daemon_for(&proxy.address(), &fixture)
            .token(&first)
            .spawn()
            .await;
        works(&daemon).await;
        let mut longer = kind;
        longer["ttl"] = json!("1h");
        daemon.write_token(&token(vault, &fixture, longer).await);
        let client = KmsClient::connect(daemon.socket());
        wait::until_true("the next token", LIMIT, async || {
            client.encrypt(&SEED).await.unwrap();
            daemon.log().matches("logged in to Vault").count() >= 2
        })
        .await;
        assert_eq!(proxy.count(RENEW), 0);
        assert!(
            !daemon
                .log()
                .contains("Vault rejected the token as invalid or expired")
        );
    }
}

async fn a_token_that_never_expires_is_neither_renewed_nor_revoked() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let proxy = Proxy::start(vault.socket_address());
    let daemon = daemon_for(&proxy.address(), &fixture)
        .token(vault.root_token())
        .spawn()
        .await;
    works(&daemon).await;
    assert_eq!(daemon.stop().await, 0);
    assert_eq!((proxy.count(RENEW), proxy.count(LOOKUP)), (0, 1));
    // It does not come from a login of our own.
    assert_eq!(proxy.count("/v1/auth/token/revoke-self"), 0);
}

async fn a_token_that_may_not_look_itself_up_works() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let bare = json!({ "no_default_policy": true, "ttl": "1h" });
    let daemon = daemon_for(&vault.address(), &fixture)
        .token(&token(vault, &fixture, bare).await)
        .spawn()
        .await;
    works(&daemon).await;
}

async fn a_token_with_a_use_limit_is_rejected_at_the_cost_of_one_use() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let counted = token(vault, &fixture, json!({ "num_uses": 30, "ttl": "1h" })).await;
    let proxy = Proxy::start(vault.socket_address());
    let daemon = daemon_for(&proxy.address(), &fixture)
        .token(&counted)
        .spawn()
        .await;
    daemon
        .logged("Vault rejected the credentials: no further login until")
        .await;
    for _ in 0..3 {
        let said = "create one without it";
        refused(&daemon, Code::PermissionDenied, &[said]).await;
    }
    assert_eq!(proxy.count(LOOKUP), 1);
    let looked = Some(json!({ "token": counted }));
    let answer = vault.expect("POST", "auth/token/lookup", looked).await;
    assert_eq!(answer["data"]["num_uses"], 29);
    daemon.write_token(&fixture.token);
    works(&daemon).await;
}

async fn a_role_whose_tokens_have_a_use_limit_is_rejected_and_its_tokens_are_revoked() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let mount = mounted(vault, "approle", &fixture).await;
    let counted = json!({ "token_num_uses": 20 });
    let role_id = role(vault, &mount, &fixture, counted).await;
    let secret = secret_id(vault, &mount).await;
    let proxy = Proxy::start(vault.socket_address());
    let auth = format!(
        "[auth]\nmethod = \"approle\"\nmount = \"{mount}\"\nrole_id = \"{role_id}\"\nsecret_id = \"{secret}\""
    );
    let builder = daemon_at(&proxy.address(), &fixture).extra(&auth);
    let daemon = builder.spawn().await;
    daemon.logged("create one without it").await;
    wait::until_true("its end", LIMIT, async || {
        proxy.count("/v1/auth/token/revoke-self") > 0
    })
    .await;
    // The remedy is in Vault, so no file changes.
    role(vault, &mount, &fixture, json!({ "token_num_uses": 0 })).await;
    works(&daemon).await;
}

tests! {
    single a_periodic_token_outlives_its_period_and_is_not_read_again [Vault];
    single a_token_that_cannot_be_renewed_is_replaced_from_the_file_before_it_expires [Vault];
    single a_token_that_never_expires_is_neither_renewed_nor_revoked [Vault];
    single a_token_that_may_not_look_itself_up_works [Vault];
    single a_token_with_a_use_limit_is_rejected_at_the_cost_of_one_use [Vault];
    single a_role_whose_tokens_have_a_use_limit_is_rejected_and_its_tokens_are_revoked [Vault];
}
