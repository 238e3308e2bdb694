//! The calls with which tests prepare a Vault, as root unless stated otherwise.

use std::sync::atomic::{AtomicU32, Ordering};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Vault, http};

/// A mount, a key, a policy and a token that no other test uses.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// The path of a transit mount.
    pub mount: String,
    /// The name of a key in it.
    pub key: String,
    /// The name of the [`plugin_policy`] for that key.
    pub policy: String,
    /// A renewable token of an hour with that policy.
    pub token: String,
}

/// What the daemon needs and nothing more, as HCL.
pub fn plugin_policy(mount: &str, key: &str) -> String {
    format!(
        r#"path "{mount}/encrypt/{key}" {{ capabilities = ["update"] }}
path "{mount}/decrypt/{key}" {{ capabilities = ["update"] }}
path "{mount}/keys/{key}" {{ capabilities = ["read"] }}
"#
    )
}

impl Vault {
    /// A fresh mount with the key `kms`, and a token for it.
    pub async fn fixture(&self) -> Fixture {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let (mount, policy) = (format!("transit-{number}"), format!("plugin-{number}"));
        let key = "kms".to_owned();
        self.enable_transit(&mount).await;
        self.create_key(&mount, &key).await;
        self.write_policy(&policy, &plugin_policy(&mount, &key))
            .await;
        let token = self
            .create_token(json!({ "policies": [&policy], "period": "1h", "no_parent": true }))
            .await;
        Fixture {
            mount,
            key,
            policy,
            token,
        }
    }

    /// Any call; the path without `/v1/`. Panics if Vault does not answer.
    pub async fn request(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let answer = self.try_request(method, path, body).await;
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Any call, while Vault may be unreachable.
    pub async fn try_request(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Result<(u16, Value)> {
        let url = format!("{}/v1/{path}", self.address());
        // Before it is initialised there is no token, and an empty header would be rejected.
        let token = Some(self.root_token()).filter(|token| !token.is_empty());
        let credential = token.map(|token| ("X-Vault-Token", token));
        let request = http::Request {
            method,
            url: &url,
            credential,
            ca_pem: None,
        };
        http::json(request, body.as_ref()).await
    }

    /// A call that must succeed. Returns the whole response.
    pub async fn expect(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.request(method, path, body).await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// Mounts an auth method of this kind.
    pub async fn enable_auth(&self, kind: &str, mount: &str) {
        let path = format!("sys/auth/{mount}");
        self.expect("POST", &path, Some(json!({ "type": kind })))
            .await;
    }

    /// Mounts a transit engine.
    pub async fn enable_transit(&self, mount: &str) {
        let transit = json!({ "type": "transit" });
        self.expect("POST", &format!("sys/mounts/{mount}"), Some(transit))
            .await;
    }

    /// Creates a key of the default type, aes256-gcm96.
    pub async fn create_key(&self, mount: &str, key: &str) {
        self.create_key_with(mount, key, json!({})).await;
    }

    /// Creates a key with parameters of transit's `keys` endpoint.
    pub async fn create_key_with(&self, mount: &str, key: &str, parameters: Value) {
        self.expect("POST", &format!("{mount}/keys/{key}"), Some(parameters))
            .await;
    }

    /// What transit returns for a key: its `data`.
    pub async fn read_key(&self, mount: &str, key: &str) -> Value {
        self.expect("GET", &format!("{mount}/keys/{key}"), None)
            .await["data"]
            .take()
    }

    /// Sets `min_decryption_version` and the like.
    pub async fn configure_key(&self, mount: &str, key: &str, settings: Value) {
        self.expect(
            "POST",
            &format!("{mount}/keys/{key}/config"),
            Some(settings),
        )
        .await;
    }

    /// Adds a version to a key.
    pub async fn rotate(&self, mount: &str, key: &str) {
        self.expect(
            "POST",
            &format!("{mount}/keys/{key}/rotate"),
            Some(json!({})),
        )
        .await;
    }

    /// Allows the deletion of a key, and deletes it.
    pub async fn delete_key(&self, mount: &str, key: &str) {
        self.configure_key(mount, key, json!({ "deletion_allowed": true }))
            .await;
        self.expect("DELETE", &format!("{mount}/keys/{key}"), None)
            .await;
    }

    /// Writes a policy, in place of an older one.
    pub async fn write_policy(&self, name: &str, hcl: &str) {
        let path = format!("sys/policies/acl/{name}");
        self.expect("PUT", &path, Some(json!({ "policy": hcl })))
            .await;
    }

    /// Creates a token with parameters of `auth/token/create`.
    pub async fn create_token(&self, parameters: Value) -> String {
        let answer = self
            .expect("POST", "auth/token/create", Some(parameters))
            .await;
        let token = answer["auth"]["client_token"].as_str();
        token.expect("a new token has a text").to_owned()
    }

    /// Revokes a token and its children.
    pub async fn revoke(&self, token: &str) {
        let body = json!({ "token": token });
        self.expect("POST", "auth/token/revoke", Some(body)).await;
    }

    /// Transit's ciphertext, `vault:vN:…`.
    pub async fn encrypt(&self, mount: &str, key: &str, plaintext: &[u8]) -> String {
        let body = json!({ "plaintext": STANDARD.encode(plaintext) });
        let answer = self
            .expect("POST", &format!("{mount}/encrypt/{key}"), Some(body))
            .await;
        answer["data"]["ciphertext"]
            .as_str()
            .expect("a ciphertext is a string")
            .to_owned()
    }

    /// The plaintext, or Vault's errors as it wrote them.
    pub async fn decrypt(
        &self,
        mount: &str,
        key: &str,
        ciphertext: &str,
    ) -> Result<Vec<u8>, String> {
        let body = json!({ "ciphertext": ciphertext });
        let (status, answer) = self
            .request("POST", &format!("{mount}/decrypt/{key}"), Some(body))
            .await;
        match answer["data"]["plaintext"].as_str() {
            Some(text) if status == 200 => Ok(STANDARD.decode(text).expect("plaintext is base64")),
            _ => Err(format!("{status} {}", answer["errors"])),
        }
    }
}
