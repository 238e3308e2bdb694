//! The policy is the least one: the daemon becomes ready with it, and nothing else is allowed.

use serde_json::{Value, json};

use super::Site;
use crate::harness::http;
use crate::harness::vault::Vault;

/// What a token could do that the plugin never does: method, path, body.
fn others() -> Vec<(&'static str, &'static str, Value)> {
    let text = json!({ "plaintext": "YQ==" });
    let any = json!({ "ciphertext": "vault:v1:YQ==" });
    let none = Value::Null;
    vec![
        ("POST", "transit/encrypt/other", text.clone()),
        ("POST", "transit/decrypt/other", any.clone()),
        ("GET", "transit/keys/other", none.clone()),
        ("LIST", "transit/keys", none.clone()),
        ("POST", "transit/keys/kms", json!({})),
        ("DELETE", "transit/keys/kms", none.clone()),
        ("POST", "transit/keys/kms/rotate", json!({})),
        (
            "POST",
            "transit/keys/kms/config",
            json!({ "deletion_allowed": true }),
        ),
        (
            "POST",
            "transit/keys/kms/trim",
            json!({ "min_available_version": 1 }),
        ),
        ("POST", "transit/rewrap/kms", any),
        ("POST", "transit/datakey/plaintext/kms", json!({})),
        ("GET", "transit/export/encryption-key/kms", none.clone()),
        ("GET", "transit/backup/kms", none.clone()),
        ("POST", "transit/hmac/kms", json!({ "input": "YQ==" })),
        ("POST", "transit/keys/typo", json!({})),
        ("POST", "transit/encrypt/typo", text),
        ("GET", "sys/mounts", none.clone()),
        ("GET", "sys/policies/acl/vault-kms-plugin", none.clone()),
        ("GET", "sys/auth", none.clone()),
        ("GET", "secret/data/x", none),
        ("POST", "auth/token/create", json!({})),
        ("POST", "sys/seal", json!({})),
    ]
}

async fn the_policy_lets_the_daemon_work_and_nothing_else() {
    let vault = Vault::start().await;
    let site = Site::new(
        &vault.address(),
        &["--platform", "systemd", "--auth", "token"],
    );
    site.set_up(&vault, "").await;
    site.set_up(&vault, "node cp-1").await;
    vault.create_key("transit", "other").await;
    let _daemon = site.ready().await;
    let token = site.file("nodes/cp-1/token");
    for (method, path, body) in others() {
        let url = format!("{}/v1/{path}", vault.address());
        let request = http::Request {
            method,
            url: &url,
            credential: Some(("X-Vault-Token", &token)),
            ca_pem: None,
        };
        let body = Some(body).filter(|body| !body.is_null());
        let (code, answer) = http::json(request, body.as_ref()).await.unwrap();
        assert_eq!(code, 403, "{method} {path}: {answer}");
    }
    // And it says so itself.
    let check = site.node().arguments(&["check"]);
    let config = check.dir().join("config.toml").display().to_string();
    let check = check.arguments(&["check", "--config", &config]).spawn_raw();
    assert_eq!(check.wait_exit(crate::LIMIT).await, 0, "{}", check.log());
    assert!(!check.log().contains("\n! policy"), "{}", check.log());
}

tests! {
    single the_policy_lets_the_daemon_work_and_nothing_else [Vault];
}
