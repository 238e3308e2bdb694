//! How long it takes, beside what an operator without it would do.

use std::time::Instant;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::harness::operator;
use crate::harness::vault::Vault;
use crate::kmsctl::site::{Site, identity};

const SECRETS: usize = 20_000;
const KUBECTL: &str =
    "kubectl get secrets --all-namespaces -o json | kubectl replace -f - > /dev/null";

/// As kube-apiserver itself would have stored them, without 20,000 requests to it.
async fn store(site: &Site) {
    for number in 0..SECRETS {
        let (name, key) = (format!("secret-{number}"), STANDARD.encode([7; 300]));
        let secret = json!({
            "kind": "Secret", "apiVersion": "v1", "type": "Opaque",
            "metadata": {
                "name": &name, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z",
                "uid": format!("00000000-0000-4000-8000-{number:012}"),
            },
            "data": { "key": key },
        });
        let path = format!("/registry/secrets/default/{name}");
        site.etcd
            .put(path.as_bytes(), secret.to_string().as_bytes())
            .await;
    }
}

async fn it_is_faster_than_kubectl_replace() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture).await;
    store(&site).await;
    let first = site.kms("v2", "vault");
    site.configure(&[first.clone(), identity()]).await;
    let began = Instant::now();
    let arguments = [
        "migrate",
        "--method",
        "direct",
        "--qps",
        "0",
        "--resource",
        "secrets",
    ];
    let ended = site.run(&arguments).await.expect(0);
    let ours = began.elapsed();
    eprintln!("{}{}", ended.out, ended.err);
    site.configure(&[site.kms("v2", "next"), first]).await;
    let began = Instant::now();
    operator::run(site.dir.path(), KUBECTL, &[]).await;
    let theirs = began.elapsed();
    eprintln!("{SECRETS} Secrets: migrate {ours:.1?}, kubectl {theirs:.1?}");
    for (key, value) in site.etcd.range("/registry/secrets/").await {
        let key = String::from_utf8_lossy(&key).into_owned();
        assert!(value.starts_with(b"k8s:enc:kms:v2:next:"), "{key}");
    }
    assert!(ours < theirs, "{ours:?} {theirs:?}");
}

tests! {
    multi it_is_faster_than_kubectl_replace [Vault, Kubernetes, Kubectl] soak "writes 40,000 objects; minutes";
}
