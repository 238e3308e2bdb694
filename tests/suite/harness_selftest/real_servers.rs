//! Vault, etcd and kube-apiserver come up and do what tests ask of them.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::fake_kms;
use crate::harness::http;
use crate::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use crate::harness::memory_transit::MemoryTransit;
use crate::harness::vault::Vault;
use crate::harness::wait::until_true;

async fn a_dev_vault_rotates_and_refuses_a_revoked_token() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let (mount, key) = (fixture.mount.as_str(), fixture.key.as_str());
    let ciphertext = vault.encrypt(mount, key, b"seed").await;
    vault.rotate(mount, key).await;
    assert!(
        vault
            .encrypt(mount, key, b"seed")
            .await
            .starts_with("vault:v2:")
    );
    assert_eq!(
        vault.decrypt(mount, key, &ciphertext).await,
        Ok(b"seed".to_vec())
    );
    assert_eq!(vault.read_key(mount, key).await["latest_version"], 2);
    vault.revoke(&fixture.token).await;
    vault.delete_key(mount, key).await;
    let refused = vault
        .decrypt(mount, key, &ciphertext)
        .await
        .expect_err("no key");
    assert!(refused.contains("encryption key not found"), "{refused}");
}

async fn a_dev_vault_comes_back_empty_on_its_port() {
    let vault = Vault::start().await;
    let fixture = vault.fixture().await;
    let address = vault.address();
    vault.kill();
    assert_eq!(vault.health().await, None);
    vault.restart().await;
    assert_eq!(vault.address(), address);
    let path = format!("{}/keys/{}", fixture.mount, fixture.key);
    assert_eq!(vault.request("GET", &path, None).await.0, 404);
}

async fn a_persistent_vault_seals_and_keeps_its_keys() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    let ciphertext = vault.encrypt(&fixture.mount, &fixture.key, b"seed").await;
    vault.seal().await;
    let sealed = vault
        .decrypt(&fixture.mount, &fixture.key, &ciphertext)
        .await;
    assert!(sealed.expect_err("sealed").contains("Vault is sealed"));
    vault.unseal().await;
    vault.restart().await;
    let opened = vault
        .decrypt(&fixture.mount, &fixture.key, &ciphertext)
        .await;
    assert_eq!(opened, Ok(b"seed".to_vec()));
    vault.restart_sealed().await;
    assert_eq!(vault.health().await, Some(503));
}

async fn kube_apiserver_stores_secrets_and_hands_out_tokens() {
    let etcd = Etcd::start().await;
    let kubernetes = KubeApiserver::start(&etcd, None, None).await;
    kubernetes.create_service_account("kms", "vault").await;
    kubernetes.bind_token_reviewer("kms", "vault").await;
    let token = kubernetes.token_request("kms", "vault", &["vault"]).await;
    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                         "spec": { "token": token, "audiences": ["vault"] } });
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let answer = kubernetes.expect("POST", path, Some(review)).await;
    assert_eq!(
        answer["status"]["user"]["username"],
        "system:serviceaccount:kms:vault"
    );
    assert_eq!(
        kubernetes
            .create_secret("kms", "one", "in the clear")
            .await
            .0,
        201
    );
    let stored = etcd.range("/registry/secrets/kms/").await;
    assert_eq!(stored.len(), 1);
    assert!(
        stored[0]
            .1
            .windows(12)
            .any(|bytes| bytes == b"in the clear")
    );
    kubernetes.restart().await;
    let read = kubernetes.read_secret("kms", "one").await;
    assert_eq!(read.as_deref(), Ok("in the clear"));
    assert!(kubernetes.metrics().await.contains("apiserver_"));
}

async fn kube_apiserver_takes_the_encryption_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("kms.sock");
    fake_kms::serve(UnixListener::bind(&socket).expect("a socket"));
    let etcd = Etcd::start().await;
    let yaml = EncryptionConfiguration::v2(&socket);
    let kubernetes = KubeApiserver::start(&etcd, Some(&yaml), Some("KMSv1=true")).await;
    kubernetes.create_namespace("kms").await;
    assert_eq!(
        kubernetes.create_secret("kms", "one", "hidden").await.0,
        201
    );
    let stored = etcd.range("/registry/secrets/kms/").await;
    assert!(stored[0].1.starts_with(b"k8s:enc:kms:v2:vault:"));
    let name = format!("@encryption-{}", std::process::id());
    let bound = name.replace('@', "\0");
    fake_kms::serve(UnixListener::bind(bound).expect("a socket"));
    kubernetes.write_encryption(&EncryptionConfiguration::v2(name.as_ref()));
    kubernetes.restart().await;
    assert_eq!(
        kubernetes.read_secret("kms", "one").await.as_deref(),
        Ok("hidden")
    );
}

async fn vault_logs_a_service_account_in_through_kube_apiserver() {
    let (vault, etcd) = (Vault::start().await, Etcd::start().await);
    let kubernetes = KubeApiserver::start(&etcd, None, None).await;
    for name in ["plugin", "reviewer"] {
        kubernetes.create_service_account("kms", name).await;
    }
    kubernetes.bind_token_reviewer("kms", "reviewer").await;
    let config = json!({
        "kubernetes_host": kubernetes.address(),
        "kubernetes_ca_cert": kubernetes.ca_pem(),
        "token_reviewer_jwt": kubernetes.token_request("kms", "reviewer", &[]).await,
        "disable_local_ca_jwt": true,
    });
    let role = json!({
        "bound_service_account_names": "plugin", "bound_service_account_namespaces": "kms",
        "audience": "vault", "token_policies": "default",
    });
    vault
        .expect(
            "POST",
            "sys/auth/kubernetes",
            Some(json!({ "type": "kubernetes" })),
        )
        .await;
    vault
        .expect("POST", "auth/kubernetes/config", Some(config))
        .await;
    vault
        .expect("POST", "auth/kubernetes/role/kms", Some(role))
        .await;
    let jwt = kubernetes.token_request("kms", "plugin", &["vault"]).await;
    let login = async || {
        let body = json!({ "role": "kms", "jwt": jwt });
        let (status, answer) = vault
            .request("POST", "auth/kubernetes/login", Some(body))
            .await;
        status == 200 && answer["auth"]["client_token"].is_string()
    };
    // RBAC reads the new binding a moment later.
    until_true("the ServiceAccount logs in", Duration::from_secs(10), login).await;
}

/// The double is only as good as its likeness: the same calls, the same statuses and words.
async fn memory_transit_answers_as_vault_does() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let double = MemoryTransit::start().await.expect("a server");
    let real = (
        format!("{}/v1/{}", vault.address(), fixture.mount),
        "root".to_owned(),
    );
    let double = (format!("{}/v1/transit", double.address()), double.token());
    let ciphertexts = [
        first_ciphertext(&real).await,
        first_ciphertext(&double).await,
    ];
    let mut differences = Vec::new();
    for case in include_str!("cases.jsonl").lines() {
        let mut seen = Vec::new();
        for (end, ciphertext) in [&real, &double].into_iter().zip(&ciphertexts) {
            let case = case.replace("CIPHERTEXT", ciphertext);
            let case: Value = serde_json::from_str(&case).expect("a case is JSON");
            let (status, answer) = send(end, &case).await;
            seen.push(format!("{status} {}", gist(status, &answer)));
        }
        if seen[0] != seen[1] {
            differences.push(format!(
                "{case}\n real:   {}\n double: {}",
                seen[0], seen[1]
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

async fn first_ciphertext(end: &(String, String)) -> String {
    let case = json!({ "call": "POST /encrypt/kms", "body": { "plaintext": "c2VlZA==" } });
    let answer = send(end, &case).await.1;
    answer["data"]["ciphertext"]
        .as_str()
        .expect("a ciphertext")
        .to_owned()
}

async fn send((base, token): &(String, String), case: &Value) -> (u16, Value) {
    let (method, path) = case["call"]
        .as_str()
        .and_then(|call| call.split_once(' '))
        .expect("a call");
    let url = format!("{base}{path}");
    let token = case["token"].as_str().unwrap_or(token);
    let credential = Some(("X-Vault-Token", token));
    let request = http::Request {
        method,
        url: &url,
        credential,
        ca_pem: None,
    };
    http::json(request, case.get("body"))
        .await
        .expect("an answer")
}

/// What a caller decides by; times and random bytes are left out, and what Vault and OpenBao word
/// differently: a 403, and what is wrong with the form of a batch.
fn gist(status: u16, answer: &Value) -> Value {
    let data = &answer["data"];
    let items = data["batch_results"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let without_bytes = |mut item: Value| {
        if let Some(object) = item.as_object_mut() {
            object.remove("ciphertext");
        }
        item
    };
    let key = [
        "latest_version",
        "min_decryption_version",
        "min_encryption_version",
        "type",
    ]
    .map(|field| data[field].clone());
    let versions: Vec<_> = data["keys"]
        .as_object()
        .into_iter()
        .flat_map(|map| map.keys())
        .collect();
    json!({
        "errors": if status == 403 { Value::Null } else { without_details(&answer["errors"]) },
        "items": items.into_iter().map(without_bytes).collect::<Vec<_>>(),
        "plaintext": data["plaintext"],
        "key_version": data["key_version"],
        "key": key,
        "versions": versions,
    })
}

fn without_details(errors: &Value) -> Value {
    const FORM: &str = "failed to parse batch input:";
    let texts = errors.as_array().into_iter().flatten();
    let texts = texts.filter_map(Value::as_str);
    let kept = texts.map(|text| match text.split_once(FORM) {
        Some((before, _)) => format!("{before}{FORM}"),
        None => text.to_owned(),
    });
    kept.collect::<Vec<_>>().into()
}

tests! {
    single a_dev_vault_rotates_and_refuses_a_revoked_token [Vault];
    single a_dev_vault_comes_back_empty_on_its_port [Vault];
    single a_persistent_vault_seals_and_keeps_its_keys [Vault];
    single kube_apiserver_stores_secrets_and_hands_out_tokens [Kubernetes];
    single kube_apiserver_takes_the_encryption_configuration [Kubernetes];
    single vault_logs_a_service_account_in_through_kube_apiserver [Vault, Kubernetes];
    single memory_transit_answers_as_vault_does [Vault];
}
