//! What kube-apiserver calls, under KMS v2 and v1, and what each call costs at Vault.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tonic::Code;
use vault_kms_plugin::grpc::proto::v2;

use super::harness::kms::KmsClient;
use super::harness::vault::Vault;
use super::harness::wait;
use super::{LIMIT, daemon_for, ready_daemon, ready_daemon_behind_proxy};

const SEED: [u8; 32] = *b"0123456789abcdef0123456789abcdef";

async fn kms_v2_wraps_and_unwraps() {
    let (fixture, _daemon, client) = ready_daemon().await;
    let status = client.status().await.unwrap();
    assert_eq!(
        (status.version.as_str(), status.healthz.as_str()),
        ("v2", "ok")
    );
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    assert_eq!(key_id, status.key_id);
    // Transit's own, so that Vault alone can read what etcd holds.
    let text = String::from_utf8(ciphertext.clone()).unwrap();
    assert!(text.starts_with("vault:v1:"), "{text}");
    let vault = Vault::shared().await;
    let plain = vault.decrypt(&fixture.mount, &fixture.key, &text).await;
    assert_eq!(plain.as_deref(), Ok(&SEED[..]));
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
}

async fn kms_v1_is_served_on_the_same_socket() {
    let (fixture, _daemon, client) = ready_daemon().await;
    let version = client.version_v1().await.unwrap();
    assert_eq!(version.version, "v1beta1");
    let cipher = client.encrypt_v1(&SEED).await.unwrap();
    assert_eq!(client.decrypt_v1(&cipher).await.unwrap(), SEED);
    // Under v1 an Encrypt is not pinned: it follows a rotation at once, whatever Status announced.
    let before = client.status().await.unwrap().key_id;
    Vault::shared()
        .await
        .rotate(&fixture.mount, &fixture.key)
        .await;
    let newer = client.encrypt_v1(&SEED).await.unwrap();
    assert!(newer.starts_with(b"vault:v2:"), "{newer:?}");
    assert!(before.contains(":v1:"), "{before}");
    assert_eq!(client.decrypt_v1(&cipher).await.unwrap(), SEED);
    assert_eq!(client.decrypt_v1(&newer).await.unwrap(), SEED);
}

async fn an_operation_costs_one_request_and_status_none() {
    let (fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;

    for _ in 0..10 {
        client.status().await.unwrap();
    }
    assert_eq!(proxy.requests().len(), 0, "Status calls Vault");

    let mut wrapped = Vec::new();
    for _ in 0..10 {
        wrapped.push(client.encrypt(&SEED).await.unwrap());
    }
    let encrypt = format!("/v1/{}/encrypt/{}", fixture.mount, fixture.key);
    assert_eq!(proxy.count(&encrypt), 10);
    assert_eq!(proxy.requests().len(), 10, "{:?}", proxy.requests());

    for (ciphertext, key_id) in &wrapped {
        client.decrypt(ciphertext, key_id).await.unwrap();
    }
    let decrypt = format!("/v1/{}/decrypt/{}", fixture.mount, fixture.key);
    assert_eq!(proxy.count(&decrypt), 10);
    assert_eq!(proxy.requests().len(), 20, "{:?}", proxy.requests());
    // All of them over connections that were kept.
    assert!(proxy.connections() <= 2, "{}", proxy.connections());
}

async fn under_v2_the_version_is_pinned_and_under_v1_it_is_not() {
    let (_fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    client.encrypt(&SEED).await.unwrap();
    client.encrypt_v1(&SEED).await.unwrap();
    let bodies: Vec<serde_json::Value> = proxy
        .requests()
        .iter()
        .map(|seen| serde_json::from_slice(&seen.body).unwrap())
        .collect();
    assert_eq!(bodies[0]["key_version"], 1);
    assert_eq!(bodies[1].get("key_version"), None);
}

async fn garbage_is_refused_and_the_process_lives() {
    let (_fixture, daemon, client) = ready_daemon().await;
    let (good, key_id) = client.encrypt(&SEED).await.unwrap();
    let mut damaged = good.clone();
    let last = damaged.len() - 6;
    damaged[last] = if damaged[last] == b'A' { b'B' } else { b'A' };
    let garbage: [&[u8]; 7] = [
        b"",
        b"garbage",
        b"vault:v1:",
        b"vault:v1:AAAA",
        b"vault:vx:AAAA",
        &[0xff; 300],
        &damaged,
    ];
    for ciphertext in garbage {
        let error = client.decrypt(ciphertext, &key_id).await.unwrap_err();
        assert_eq!(
            error.code(),
            Code::InvalidArgument,
            "{ciphertext:?}: {error}"
        );
        let error = client.decrypt_v1(ciphertext).await.unwrap_err();
        assert_eq!(
            error.code(),
            Code::InvalidArgument,
            "{ciphertext:?}: {error}"
        );
    }
    assert_eq!(client.decrypt(&good, &key_id).await.unwrap(), SEED);
    assert_eq!(daemon.exited(), None);
}

/// Vault's audit log and the log here name each request in the same way.
async fn a_request_is_found_in_the_audit_log_of_vault() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("audit.log");
    let vault = Vault::start_audited(&file).await;
    let fixture = vault.fixture().await;
    let header = json!({ "hmac": false });
    let path = "sys/config/auditing/request-headers/X-Correlation-Id";
    vault.expect("POST", path, Some(header.clone())).await;
    let path = "sys/config/auditing/request-headers/User-Agent";
    vault.expect("POST", path, Some(header)).await;
    let daemon = daemon_for(&vault.address(), &fixture)
        .extra("[log]\nlevel = \"debug\"")
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let uids: Vec<String> = (0..10).map(|number| format!("uid-{number}")).collect();
    let encrypts = uids.iter().map(|uid| {
        let request = v2::EncryptRequest {
            plaintext: SEED.to_vec(),
            uid: uid.clone(),
        };
        let mut client = client.v2();
        async move { client.encrypt(request).await.unwrap() }
    });
    join_all(encrypts).await;
    let path = format!("{}/encrypt/{}", fixture.mount, fixture.key);
    // Each uid is in the line of the request that carried it, and in no other.
    let requests = || {
        let mut lines = daemon.log_lines();
        lines.retain(|line| line["path"] == path.as_str() && line["uids"].is_string());
        lines
    };
    let count = |uid: &String| {
        let lines = requests();
        let uids = lines.iter().filter_map(|line| line["uids"].as_str());
        uids.flat_map(|uids| uids.split(','))
            .filter(|it| it == uid)
            .count()
    };
    wait::until_true("each uid in the log", LIMIT, async || {
        uids.iter().all(|uid| count(uid) == 1)
    })
    .await;
    let ours = requests().pop().unwrap()["correlation_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let audited = wait::until("the request in the audit log", LIMIT, async || {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut entries = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        entries.find(|entry| entry["request"]["headers"]["x-correlation-id"][0] == ours.as_str())
    })
    .await;
    assert_eq!(audited["request"]["path"], path.as_str());
    let agent = &audited["request"]["headers"]["user-agent"][0];
    let expected = concat!("vault-kms-plugin/", env!("CARGO_PKG_VERSION"));
    assert_eq!(agent, expected);
}

tests! {
    single kms_v2_wraps_and_unwraps [Vault];
    single kms_v1_is_served_on_the_same_socket [Vault];
    single an_operation_costs_one_request_and_status_none [Vault];
    single under_v2_the_version_is_pinned_and_under_v1_it_is_not [Vault];
    single garbage_is_refused_and_the_process_lives [Vault];
    single a_request_is_found_in_the_audit_log_of_vault [Vault];
}
