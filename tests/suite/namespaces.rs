//! Namespaces on a real OpenBao: the key and the login in one, in different ones, in nested ones,
//! and what a namespace that is missing, sealed or locked looks like.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tonic::Code;

use super::LIMIT;
use super::authentication::refused;
use super::authentication::wrapped::wrapped;
use super::check::proven;
use super::harness::daemon::{Builder, Daemon};
use super::harness::kms::KmsClient;
use super::harness::proxy::Proxy;
use super::harness::vault::{Vault, plugin_policy};
use super::harness::wait;

const SEED: [u8; 32] = [13; 32];
const MOUNT: &str = "transit";
const KEY: &str = "kms";
const POLICY: &str = "plugin";

/// A namespace that no other test uses.
struct Namespace {
    vault: &'static Vault,
    path: String,
}

impl Namespace {
    /// A path that is not created yet.
    async fn planned() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            vault: Vault::shared().await,
            path: format!("team-{number}"),
        }
    }

    async fn new() -> Self {
        let namespace = Self::planned().await;
        namespace.create(json!({})).await;
        namespace
    }

    /// One below this one.
    async fn child(&self, name: &str) -> Self {
        let path = format!("sys/namespaces/{name}");
        self.expect("PUT", &path, Some(json!({}))).await;
        Self {
            vault: self.vault,
            path: format!("{}/{name}", self.path),
        }
    }

    /// Creates one that is planned. Returns what OpenBao tells about it.
    async fn create(&self, parameters: Value) -> Value {
        let path = format!("sys/namespaces/{}", self.path);
        self.vault.expect("PUT", &path, Some(parameters)).await
    }

    /// A call of root inside.
    async fn expect(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let path = format!("{}/{path}", self.path);
        self.vault.expect(method, &path, body).await
    }

    /// The same with a key inside.
    async fn with_key(self) -> Self {
        let transit = json!({ "type": "transit" });
        self.expect("POST", &format!("sys/mounts/{MOUNT}"), Some(transit))
            .await;
        self.expect("POST", &format!("{MOUNT}/keys/{KEY}"), Some(json!({})))
            .await;
        self
    }

    async fn write_policy(&self, hcl: &str) {
        let path = format!("sys/policies/acl/{POLICY}");
        self.expect("PUT", &path, Some(json!({ "policy": hcl })))
            .await;
    }

    /// The same with the policy for a key at this path, as it is called here.
    async fn with_policy(self, mount: &str) -> Self {
        self.write_policy(&plugin_policy(mount, KEY)).await;
        self
    }

    /// A token of that policy.
    async fn token(&self) -> String {
        let parameters = json!({ "policies": [POLICY], "period": "1h", "no_parent": true });
        let answer = self
            .expect("POST", "auth/token/create", Some(parameters))
            .await;
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// A role with that policy, and a daemon's configuration for it without the secret_id.
    async fn approle(&self, more: Value) -> String {
        self.expect(
            "POST",
            "sys/auth/approle",
            Some(json!({ "type": "approle" })),
        )
        .await;
        let mut role = json!({ "token_policies": [POLICY], "token_ttl": "1h" });
        let fields = role.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        let path = "auth/approle/role/plugin";
        self.expect("POST", path, Some(role)).await;
        let answer = self.expect("GET", &format!("{path}/role-id"), None).await;
        format!(
            "[auth]\nmethod = \"approle\"\nrole_id = {}\nnamespace = \"{}\"\n",
            answer["data"]["role_id"], self.path
        )
    }

    /// The same with a secret_id in a file.
    async fn approle_with_file(&self, builder: Builder, more: Value) -> Builder {
        let role = self.approle(more).await;
        let path = "auth/approle/role/plugin/secret-id";
        let answer = self.expect("POST", path, Some(json!({}))).await;
        let secret_id = answer["data"]["secret_id"].as_str().unwrap();
        let file = builder.write_file("secret-id", secret_id);
        let role = format!("{role}secret_id_file = \"{}\"", file.display());
        builder.extra(&role)
    }

    /// A daemon for the key inside, without a login.
    fn daemon(&self) -> Builder {
        self.daemon_at(&self.vault.address())
    }

    fn daemon_at(&self, address: &str) -> Builder {
        let namespace = format!("[vault]\nnamespace = \"{}\"", self.path);
        let builder = Daemon::builder().vault(address).transit(MOUNT, KEY);
        builder.extra(&namespace)
    }

    /// Whether the key inside made this ciphertext.
    async fn made(&self, ciphertext: &[u8]) -> bool {
        let mount = format!("{}/{MOUNT}", self.path);
        let text = std::str::from_utf8(ciphertext).unwrap();
        self.vault.decrypt(&mount, KEY, text).await == Ok(SEED.to_vec())
    }
}

/// Waits until the daemon works. Returns a ciphertext and its key_id.
async fn works(daemon: &Daemon) -> (Vec<u8>, String) {
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    let read = client.decrypt(&ciphertext, &key_id).await;
    assert_eq!(read.unwrap(), SEED);
    (ciphertext, key_id)
}

async fn a_key_and_a_login_in_one_nested_namespace_work() {
    let parent = Namespace::new().await;
    // A key of the same name above, which is another one.
    let parent = parent.with_key().await;
    let child = parent.child("kms").await.with_key().await;
    let child = child.with_policy(MOUNT).await;
    let token = child.token().await;
    let daemon = child.daemon().token(&token).spawn().await;
    let (ciphertext, key_id) = works(&daemon).await;
    let named = format!("transit1:{}:", child.path.replace('/', "%2F"));
    assert!(key_id.starts_with(&named), "{key_id}");
    assert!(child.made(&ciphertext).await);
    assert!(!parent.made(&ciphertext).await);
    proven(child.daemon().token(&token), &["--strict"])
        .await
        .ends_with(0)
        .says("✓ capabilities: update on transit/encrypt/kms, ")
        .says(&format!("✓ key: {}/{MOUNT}/{KEY}: ", child.path));
}

async fn a_login_above_the_namespace_of_the_key_is_renewed_and_revoked_there() {
    let parent = Namespace::new().await.with_policy("below/transit").await;
    let key = parent.child("below").await.with_key().await;
    let proxy = Proxy::start(key.vault.socket_address());
    let builder = key.daemon_at(&proxy.address());
    let short = json!({ "token_ttl": "3s", "token_max_ttl": "1h" });
    let builder = parent.approle_with_file(builder, short).await;
    let daemon = builder.spawn().await;
    let (ciphertext, _) = works(&daemon).await;
    assert!(key.made(&ciphertext).await);
    let renewals = || proxy.count("/v1/auth/token/renew-self");
    wait::until_true("two renewals", LIMIT, async || renewals() >= 2).await;
    works(&daemon).await;
    assert_eq!(proxy.count("/v1/auth/approle/login"), 1);
    assert_eq!(daemon.stop().await, 0);
    let seen = proxy.requests();
    let revoked = seen
        .iter()
        .find(|seen| seen.path == "/v1/auth/token/revoke-self");
    let token = revoked.unwrap().headers["x-vault-token"].to_str().unwrap();
    let looked = Some(json!({ "token": token }));
    let path = format!("{}/auth/token/lookup", parent.path);
    let (status, answer) = key.vault.request("POST", &path, looked).await;
    assert_eq!(status, 403, "{answer}");
}

async fn check_names_the_paths_as_the_policy_above_has_to() {
    let parent = Namespace::new().await.with_policy("below/transit").await;
    let key = parent.child("below").await.with_key().await;
    let token = parent.token().await;
    // Also where auth.namespace is not set: a token knows its namespace.
    for more in [
        format!("[auth]\nnamespace = \"{}\"", parent.path),
        String::new(),
    ] {
        let builder = || key.daemon().token(&token).extra(&more);
        works(&builder().spawn().await).await;
        proven(builder(), &["--strict"])
            .await
            .ends_with(0)
            .says("✓ capabilities: update on below/transit/encrypt/kms, ");
    }
    // As if the policy were one of the key's own namespace.
    parent.write_policy(&plugin_policy(MOUNT, KEY)).await;
    let missing = "does not grant `update` on below/transit/encrypt/kms";
    proven(key.daemon().token(&token), &[])
        .await
        .ends_with(69)
        .names(missing, "grant it");
}

async fn a_login_in_the_root_namespace_uses_a_key_in_another() {
    let key = Namespace::new().await.with_key().await;
    let policy = format!("of-{}", key.path);
    let mount = format!("{}/{MOUNT}", key.path);
    key.vault
        .write_policy(&policy, &plugin_policy(&mount, KEY))
        .await;
    let parameters = json!({ "policies": [policy], "ttl": "1h" });
    let token = key.vault.create_token(parameters).await;
    let builder = key.daemon().token(&token);
    let root = "[auth]\nnamespace = \"root\"";
    let (ciphertext, _) = works(&builder.extra(root).spawn().await).await;
    assert!(key.made(&ciphertext).await);
}

async fn a_login_in_a_namespace_that_is_not_above_the_key_is_denied_with_the_reason() {
    let parent = Namespace::new().await;
    let key = parent.child("keys").await.with_key().await;
    for logins in [parent.child("logins").await, key.child("logins").await] {
        let logins = logins.with_policy(MOUNT).await;
        let token = logins.token().await;
        let builder = || {
            let login = format!("[auth]\nnamespace = \"{}\"", logins.path);
            key.daemon().token(&token).extra(&login)
        };
        let daemon = builder().spawn().await;
        let reason = format!("a token of a namespace above \"{}\" needs", key.path);
        let texts = [reason.as_str(), "one of any other namespace has no access"];
        refused(&daemon, Code::PermissionDenied, &texts).await;
        proven(builder(), &[])
            .await
            .ends_with(69)
            .says(&format!(
                "! capabilities: cannot query capabilities (the token is of namespace \"{}\", which \
                 is not above \"{}\")",
                logins.path, key.path
            ))
            .names("HTTP 403: ", &reason);
    }
}

async fn a_wrapped_secret_id_of_a_nested_namespace_is_unwrapped_there() {
    let logins = Namespace::new().await.child("logins").await;
    let logins = logins.with_policy("keys/transit").await;
    let key = logins.child("keys").await.with_key().await;
    let proxy = Proxy::start(logins.vault.socket_address());
    let builder = key.daemon_at(&proxy.address());
    let role = logins.approle(json!({})).await;
    let path = format!("{}/auth/approle/role/plugin/secret-id", logins.path);
    let token = wrapped(logins.vault, &path).await;
    let file: PathBuf = builder.write_file("wrapping-token", &token);
    let auth = format!(
        "{role}role = \"plugin\"\nwrapped_secret_id_file = \"{}\"",
        file.display()
    );
    let daemon = builder.extra(&auth).spawn().await;
    let (ciphertext, _) = works(&daemon).await;
    assert!(key.made(&ciphertext).await);
    daemon.restart().await;
    works(&daemon).await;
    for seen in proxy.requests() {
        let of_login = ["/v1/auth/", "/v1/sys/wrapping/"];
        let expected = match seen.path.as_str() {
            path if path.starts_with("/v1/sys/health") => None,
            path if of_login.iter().any(|prefix| path.starts_with(prefix)) => Some(&logins.path),
            _ => Some(&key.path),
        };
        let namespace = seen.headers.get("x-vault-namespace");
        let namespace = namespace.map(|value| value.to_str().unwrap());
        assert_eq!(namespace, expected.map(String::as_str), "{}", seen.path);
    }
    assert_eq!(proxy.count("/v1/sys/wrapping/unwrap"), 1);
    let next = wrapped(logins.vault, &path).await;
    fs::write(&file, next).unwrap();
    daemon.logged("new secret_id works").await;
    assert_eq!(proxy.count("/v1/sys/wrapping/unwrap"), 2);
}

async fn a_key_of_another_namespace_still_decrypts() {
    let parent = Namespace::new().await;
    let old = parent.child("old").await.with_key().await;
    let new = parent.child("new").await.with_key().await;
    let both = ["old/transit", "new/transit"].map(|mount| plugin_policy(mount, KEY));
    parent.write_policy(&both.concat()).await;
    let token = parent.token().await;
    let daemon = old.daemon().token(&token).spawn().await;
    let (by_old, old_id) = works(&daemon).await;
    assert_eq!(daemon.stop().await, 0);
    let also = format!(
        "[[transit.decrypt_also]]\nnamespace = \"{}\"\nmount = \"{MOUNT}\"\nkey = \"{KEY}\"",
        old.path
    );
    let builder = || new.daemon().token(&token).extra(&also);
    let daemon = builder().spawn().await;
    let (_, new_id) = works(&daemon).await;
    assert_ne!(new_id, old_id);
    let client = KmsClient::connect(daemon.socket());
    assert_eq!(client.decrypt(&by_old, &old_id).await.unwrap(), SEED);
    proven(builder(), &[])
        .await
        .ends_with(0)
        .says("update on old/transit/decrypt/kms");
}

async fn a_missing_namespace_is_reported_and_works_once_it_was_created() {
    let key = Namespace::planned().await;
    let remedy = format!(
        "there is no namespace \"{}\": correct vault.namespace, or its entry in transit.decrypt_also; or create it if nothing was ever encrypted there",
        key.path
    );
    let root = "[auth]\nnamespace = \"root\"";
    let builder = || key.daemon().token(key.vault.root_token()).extra(root);
    let daemon = builder().spawn().await;
    let texts = ["HTTP 404: namespace not found", &remedy];
    refused(&daemon, Code::FailedPrecondition, &texts).await;
    proven(builder(), &[])
        .await
        .ends_with(69)
        .names("capabilities: ", &remedy)
        .names("key: ", &remedy);
    key.create(json!({})).await;
    let key = key.with_key().await;
    let (ciphertext, _) = works(&daemon).await;
    assert!(key.made(&ciphertext).await);
}

async fn a_deleted_namespace_is_reported_as_missing() {
    let parent = Namespace::new().await.with_policy("below/transit").await;
    let key = parent.child("below").await.with_key().await;
    let daemon = key.daemon().token(&parent.token().await).spawn().await;
    works(&daemon).await;
    parent.expect("DELETE", "sys/namespaces/below", None).await;
    let remedy = format!(
        "there is no namespace \"{}\": correct vault.namespace",
        key.path
    );
    refused(&daemon, Code::FailedPrecondition, &[&remedy]).await;
    let client = KmsClient::connect(daemon.socket());
    wait::until_true("a verdict", LIMIT, async || {
        let status = client.status().await.err();
        status.is_some_and(|error| error.code() == Code::FailedPrecondition)
    })
    .await;
}

async fn a_login_in_a_missing_namespace_is_reported_and_works_once_it_was_created() {
    let namespace = Namespace::planned().await;
    // The same namespace for both, and a login that is refused first.
    let builder = || namespace.daemon().token(namespace.vault.root_token());
    let daemon = builder().spawn().await;
    let remedy = "correct auth.namespace, or vault.namespace if that is not set, or create the namespace if nothing was ever encrypted there";
    let texts = ["login by token failed", "namespace not found", remedy];
    refused(&daemon, Code::PermissionDenied, &texts).await;
    proven(builder(), &[])
        .await
        .ends_with(69)
        .names("login: ", remedy);
    namespace.create(json!({})).await;
    let _namespace = namespace.with_key().await;
    works(&daemon).await;
}

async fn a_sealed_namespace_is_an_outage_until_it_is_unsealed() {
    let key = Namespace::planned().await;
    let shamir = "seal \"shamir\" {\n  shares = 1\n  threshold = 1\n}";
    let created = key.create(json!({ "seal": shamir })).await;
    let share = created["data"]["key_shares"][0].clone();
    let (vault, root) = (key.vault, format!("sys/namespaces/{}", key.path));
    // It is sealed from the beginning.
    let unseal = async || {
        let share = Some(json!({ "key": share }));
        vault.expect("PUT", &format!("{root}/unseal"), share).await;
    };
    unseal().await;
    let key = key.with_key().await.with_policy(MOUNT).await;
    let daemon = key.daemon().token(&key.token().await).spawn().await;
    let (ciphertext, key_id) = works(&daemon).await;
    vault.expect("PUT", &format!("{root}/seal"), None).await;
    refused(&daemon, Code::Unavailable, &["namespace is sealed"]).await;
    unseal().await;
    works(&daemon).await;
    let client = KmsClient::connect(daemon.socket());
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
}

async fn a_locked_namespace_is_an_outage_until_it_is_unlocked() {
    let key = Namespace::new().await.with_key().await;
    let key = key.with_policy(MOUNT).await;
    let daemon = key.daemon().token(&key.token().await).spawn().await;
    works(&daemon).await;
    let path = |what| format!("sys/namespaces/api-lock/{what}/{}", key.path);
    key.vault.expect("PUT", &path("lock"), None).await;
    let text = "API access to this namespace has been locked by an administrator";
    refused(&daemon, Code::Unavailable, &[text]).await;
    let anyhow = Some(json!({}));
    key.vault.expect("PUT", &path("unlock"), anyhow).await;
    works(&daemon).await;
}

tests! {
    single a_key_and_a_login_in_one_nested_namespace_work [OpenBao];
    single a_login_above_the_namespace_of_the_key_is_renewed_and_revoked_there [OpenBao];
    single check_names_the_paths_as_the_policy_above_has_to [OpenBao];
    single a_login_in_the_root_namespace_uses_a_key_in_another [OpenBao];
    single a_login_in_a_namespace_that_is_not_above_the_key_is_denied_with_the_reason [OpenBao];
    single a_wrapped_secret_id_of_a_nested_namespace_is_unwrapped_there [OpenBao];
    single a_key_of_another_namespace_still_decrypts [OpenBao];
    single a_missing_namespace_is_reported_and_works_once_it_was_created [OpenBao];
    single a_deleted_namespace_is_reported_as_missing [OpenBao];
    single a_login_in_a_missing_namespace_is_reported_and_works_once_it_was_created [OpenBao];
    single a_sealed_namespace_is_an_outage_until_it_is_unsealed [OpenBao];
    single a_locked_namespace_is_an_outage_until_it_is_unlocked [OpenBao];
}
