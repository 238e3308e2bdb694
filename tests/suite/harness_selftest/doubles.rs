//! The proxy, the in-memory Transit server and the KMS client.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tonic::Code;

use super::fake_kms;
use crate::harness::http;
use crate::harness::kms::KmsClient;
use crate::harness::memory_transit::MemoryTransit;
use crate::harness::proxy::{Fault, Proxy};

async fn call(
    base: &str,
    token: &str,
    method: &str,
    path: &str,
    body: Value,
) -> reqwest::Result<(u16, Value)> {
    let url = format!("{base}/v1/{path}");
    let credential = Some(("X-Vault-Token", token));
    http::json(
        http::Request {
            method,
            url: &url,
            credential,
            ca_pem: None,
        },
        Some(&body),
    )
    .await
}

async fn memory_transit_encrypts_rotates_and_refuses_as_vault_does() {
    let mut transit = MemoryTransit::start().await.expect("a server");
    let (base, token) = (transit.address(), transit.token());
    let post = async |path: &str, body: Value| call(&base, &token, "POST", path, body).await;
    let plaintext = STANDARD.encode("seed");
    let (status, first) = post("transit/encrypt/kms", json!({ "plaintext": plaintext }))
        .await
        .expect("an answer");
    assert_eq!(
        (status, &first["data"]["key_version"]),
        (200, &json!(1)),
        "{first}"
    );
    transit.rotate();
    let (_, pinned) = post(
        "transit/encrypt/kms",
        json!({ "plaintext": plaintext, "key_version": 2 }),
    )
    .await
    .expect("an answer");
    assert!(
        pinned["data"]["ciphertext"]
            .as_str()
            .is_some_and(|text| text.starts_with("vault:v2:"))
    );
    let batch = json!({ "batch_input": [
        { "ciphertext": first["data"]["ciphertext"], "reference": "a" },
        { "ciphertext": "vault:v9:AAAA", "reference": "b" },
    ]});
    let (status, answer) = post("transit/decrypt/kms", batch).await.expect("an answer");
    let results = &answer["data"]["batch_results"];
    assert_eq!(status, 400, "{answer}");
    assert_eq!(
        results[0],
        json!({ "plaintext": plaintext, "reference": "a" })
    );
    assert_eq!(
        results[1]["error"],
        "invalid ciphertext: version is too new"
    );
    let (status, answer) = post("transit/encrypt/none", json!({}))
        .await
        .expect("an answer");
    assert_eq!(
        (status, &answer["errors"][0]),
        (400, &json!("encryption key not found"))
    );
    let (status, _) = call(&base, "wrong", "GET", "auth/token/lookup-self", json!({}))
        .await
        .expect("an answer");
    assert_eq!(status, 403);
    transit.stop().await;
    post("transit/keys/kms", json!({}))
        .await
        .expect_err("the port is closed");
    transit.resume().await.expect("the same port");
    let (_, key) = call(&base, &token, "GET", "transit/keys/kms", json!({}))
        .await
        .expect("an answer");
    assert_eq!(key["data"]["latest_version"], 2);
}

async fn a_proxy_counts_and_misbehaves() {
    let transit = MemoryTransit::start().await.expect("a server");
    let target = transit
        .address()
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let proxy = Proxy::start(target);
    let (base, token) = (proxy.address(), transit.token());
    let get = async || call(&base, &token, "GET", "transit/keys/kms", json!({})).await;
    assert_eq!(get().await.expect("an answer").0, 200);
    assert_eq!(proxy.count("/v1/transit/keys"), 1);
    proxy.fault("keys", Fault::error(503, "Vault is sealed"));
    let (status, answer) = get().await.expect("an answer");
    assert_eq!(
        (status, &answer["errors"][0]),
        (503, &json!("Vault is sealed"))
    );
    proxy.fault("", Fault::Refuse);
    get().await.expect_err("dropped");
    proxy.clear();
    proxy.fault_times("keys", Fault::Refuse, 1);
    get().await.expect_err("dropped once");
    proxy.fault("keys", Fault::Delay(Duration::from_millis(100)));
    let start = Instant::now();
    assert_eq!(get().await.expect("an answer").0, 200);
    assert!(start.elapsed() >= Duration::from_millis(100));
    proxy.fault("keys", Fault::Hang);
    tokio::time::timeout(Duration::from_millis(200), get())
        .await
        .expect_err("it hangs");
    proxy.reset_counts();
    assert_eq!(proxy.requests().len(), 0);
}

async fn a_proxy_keeps_connections() {
    let transit = MemoryTransit::start().await.expect("a server");
    let target = transit
        .address()
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let proxy = Proxy::start(target);
    let client = http::builder(None)
        .pool_max_idle_per_host(1)
        .build()
        .expect("a client");
    for _ in 0..3 {
        let answer = client
            .get(format!("{}/v1/sys/health", proxy.address()))
            .send()
            .await;
        assert!(
            answer
                .expect("an answer")
                .text()
                .await
                .expect("a body")
                .contains("initialized")
        );
    }
    assert_eq!((proxy.connections(), proxy.requests().len()), (1, 3));
}

async fn the_kms_client_speaks_over_paths_and_abstract_sockets() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("kms.sock");
    let name = format!("harness-{}", std::process::id());
    for (bound, named) in [
        (path.clone(), path.to_string_lossy().into_owned()),
        (format!("\0{name}").into(), format!("@{name}")),
    ] {
        fake_kms::serve(UnixListener::bind(&bound).expect("a socket"));
        let client = KmsClient::connect(&named);
        client.wait_ok(Duration::from_secs(5)).await;
        let (ciphertext, key_id) = client.encrypt(b"abc").await.expect("an answer");
        assert_eq!(
            client
                .decrypt(&ciphertext, &key_id)
                .await
                .expect("an answer"),
            b"abc"
        );
        assert_eq!(
            client
                .encrypt(fake_kms::TIMEOUT)
                .await
                .expect("an answer")
                .0,
            b"3000000u"
        );
        let refused = client.decrypt(b"x", "y").await.expect_err("refused");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        let hasty = client.with_timeout(Duration::from_millis(100));
        let late = hasty.encrypt(fake_kms::HANG).await.expect_err("late");
        assert!(
            matches!(late.code(), Code::Cancelled | Code::DeadlineExceeded),
            "{late:?}"
        );
        let unknown = client.version_v1().await.expect_err("no KMS v1 there");
        assert_eq!(unknown.code(), Code::Unimplemented);
    }
}

tests! {
    single memory_transit_encrypts_rotates_and_refuses_as_vault_does;
    single a_proxy_counts_and_misbehaves;
    single a_proxy_keeps_connections;
    single the_kms_client_speaks_over_paths_and_abstract_sockets;
}
