//! From each way of encryption to the next, with other writers meanwhile.

use serde_json::{Value, json};

use crate::harness::kubernetes::KubeApiserver;
use crate::harness::vault::Vault;
use crate::kmsctl::site::{NAMESPACE, Site, aescbc, identity};

const DIRECT: [&str; 4] = ["migrate", "--method", "direct", "--qps"];

/// Another writer: makes, changes and deletes objects until it is stopped.
async fn disturb(kubernetes: &KubeApiserver, round: usize) {
    let list = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
    for number in 0..20 {
        let name = format!("busy-{round}-{number}");
        let (code, answer) = kubernetes.create_secret(NAMESPACE, &name, "busy").await;
        assert_eq!(code, 201, "{answer}");
        let path = format!("{list}/secret-{number}");
        let mut secret = kubernetes.expect("GET", &path, None).await;
        secret["metadata"]["labels"] = json!({ "round": round.to_string() });
        // A conflict is the other's right.
        let (code, answer) = kubernetes.request("PUT", &path, Some(secret)).await;
        assert!(matches!(code, 200 | 409), "{answer}");
        if number % 2 == 0 {
            kubernetes
                .expect("DELETE", &format!("{list}/{name}"), None)
                .await;
        }
    }
}

/// The data alone: labels are changed by the other writer.
fn data(contents: std::collections::BTreeMap<String, Value>) -> Vec<(String, Value)> {
    let all = contents
        .into_iter()
        .filter(|(name, _)| !name.contains("busy"));
    all.map(|(name, item)| {
        (
            name,
            json!([
                item["data"],
                item["spec"],
                item["immutable"],
                item["metadata"]["uid"]
            ]),
        )
    })
    .collect()
}

async fn objects_move_from_one_provider_to_the_next_and_keep_their_content() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture).await;
    site.fill(40).await;
    let before = data(site.contents().await);
    let key_id = format!("transit1::{}:kms:v1:", fixture.mount);
    let (v1, v2) = (site.kms("v1", "old"), site.kms("v2", "vault"));
    let steps = [
        (vec![aescbc(), identity()], "k8s:enc:aescbc:v1:one:", ""),
        (
            vec![v1.clone(), aescbc()],
            "k8s:enc:kms:v1:old:",
            "vault:v1:",
        ),
        (
            vec![v2.clone(), v1],
            "k8s:enc:kms:v2:vault:",
            key_id.as_str(),
        ),
    ];
    for (round, (providers, start, text)) in steps.into_iter().enumerate() {
        site.configure(&providers).await;
        let arguments = [&DIRECT[..], &["200", "--page-size", "7"]].concat();
        let (ended, ()) = tokio::join!(site.run(&arguments), disturb(&site.kubernetes, round));
        let ended = ended.expect(0);
        eprintln!("{}\n{}", ended.out, ended.err);
        site.assert_stored(start, text).await;
        assert_eq!(data(site.contents().await), before);
    }

    // What is up to date is not written: not a byte in etcd changes, and no metadata of an object.
    let (stored, contents) = (site.stored().await, site.contents().await);
    let ended = site.run(&[&DIRECT[..], &["0"]].concat()).await.expect(0);
    assert!(ended.out.contains("secrets: 0 written"), "{ended:?}");
    assert_eq!(site.stored().await, stored);

    // A stale one is written without a trace in the object.
    site.configure(&[site.kms("v2", "next"), v2]).await;
    site.run(&[&DIRECT[..], &["0"]].concat()).await.expect(0);
    site.assert_stored("k8s:enc:kms:v2:next:", &key_id).await;
    assert_eq!(site.contents().await, contents);
}

async fn a_wildcard_covers_every_resource_that_is_stored() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture).await;
    site.fill(4).await;
    let providers = [site.kms("v2", "vault"), identity()];
    site.configure_resources("['*.*']", &providers).await;
    let ended = site.run(&[&DIRECT[..], &["0"]].concat()).await.expect(0);
    eprintln!("{}\n{}", ended.out, ended.err);
    let mut left = Vec::new();
    for (key, value) in site.etcd.range("/registry/").await {
        let key = String::from_utf8_lossy(&key).into_owned();
        if !value.starts_with(b"k8s:enc:kms:v2:vault:") {
            left.push(key);
        }
    }
    // kube-apiserver's own book-keeping, which no EncryptionConfiguration covers.
    left.retain(|key| {
        let own = [
            "/registry/ranges/",
            "/registry/masterleases/",
            "/registry/peerserverleases/",
        ];
        !own.iter().any(|start| key.starts_with(start))
    });
    assert!(left.is_empty(), "{left:#?}");
}

async fn a_dry_run_writes_nothing_and_says_how_many() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture).await;
    site.fill(10).await;
    site.configure(&[site.kms("v2", "vault"), identity()]).await;
    let stored = site.stored().await;
    let ended = site.run(&["migrate", "--dry-run"]).await.expect(0);
    assert!(
        ended.out.contains("secrets: 15 objects would be written"),
        "{ended:?}"
    );
    let ended = site
        .run(&["migrate", "--dry-run", "--json"])
        .await
        .expect(0);
    let json: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(json["resources"][1]["written"], 15, "{json}");
    assert_eq!(site.stored().await, stored);
}

async fn nothing_is_decrypted_without_a_word_of_the_operator() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture).await;
    site.configure(&[site.kms("v2", "vault"), identity()]).await;
    site.fill(4).await;
    site.configure(&[identity(), site.kms("v2", "vault")]).await;
    let ended = site.run(&["migrate"]).await.expect(78);
    assert!(ended.err.contains("would decrypt"), "{ended:?}");
    let stored = site.stored().await;
    let secrets = |(key, _): &(&String, &Vec<u8>)| key.contains("/secrets/");
    assert!(
        stored
            .iter()
            .filter(secrets)
            .all(|(_, value)| value.starts_with(b"k8s:enc:kms"))
    );
    let arguments = ["migrate", "--allow-decrypt", "--method", "direct"];
    let ended = site.run(&arguments).await.expect(0);
    assert!(ended.err.contains("DECRYPTED"), "{ended:?}");
    site.assert_stored("", "").await;
    let stored = site.stored().await;
    assert!(
        stored
            .iter()
            .all(|(_, value)| !value.starts_with(b"k8s:enc:"))
    );
}

tests! {
    multi objects_move_from_one_provider_to_the_next_and_keep_their_content [Vault, Kubernetes];
    multi a_wildcard_covers_every_resource_that_is_stored [Vault, Kubernetes];
    multi a_dry_run_writes_nothing_and_says_how_many [Vault, Kubernetes];
    multi nothing_is_decrypted_without_a_word_of_the_operator [Vault, Kubernetes];
}
