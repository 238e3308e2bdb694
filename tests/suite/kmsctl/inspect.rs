//! `inspect` of values as etcdctl, curl and hexdump give them.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::site::{Ended, PROGRAM, Site, identity};
use crate::harness::vault::Vault;
use crate::harness::{operator, servers};

const SECRET: &str = "correct-horse";

/// Runs it on a file.
fn inspect(arguments: &[&str]) -> Ended {
    let output = Command::new(PROGRAM)
        .arg("inspect")
        .args(arguments)
        .output();
    Ended::from(output.unwrap())
}

async fn a_value_is_described_in_whatever_form_it_is_given() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture).await;
    site.kubernetes
        .create_secret("default", "proof", SECRET)
        .await;
    let etcdctl = servers::binary(servers::Server::Etcdctl);
    let get = format!(
        "{} --endpoints {} get /registry/secrets/default/proof",
        etcdctl.display(),
        site.etcd.address()
    );
    let key = "printf /registry/secrets/default/proof | base64 -w0";
    let curl = format!(
        "curl -s {}/v3/kv/range -d \"{{\\\"key\\\":\\\"$({key})\\\"}}\"",
        site.etcd.address()
    );
    let forms = [
        get.clone(),
        format!("{get} --print-value-only"),
        format!("{get} -w json"),
        curl,
        format!("{get} --print-value-only | head -c -1 | base64"),
        format!("{get} --print-value-only | head -c -1 | hexdump -C"),
    ];
    let run = async |form: &str| -> Value {
        let text = format!("{form} | {PROGRAM} inspect --json");
        let printed = operator::run(site.dir.path(), &text, &[]).await;
        assert!(!printed.contains(SECRET));
        serde_json::from_str::<Value>(&printed).unwrap()[0].clone()
    };
    for form in &forms {
        let plain = run(form).await;
        assert_eq!(plain["form"], "not_encrypted", "{form}: {plain}");
    }
    site.configure(&[site.kms("v2", "vault"), identity()]).await;
    site.kubernetes.rewrite_secret("default", "proof").await;
    for form in &forms {
        let value = run(form).await;
        assert_eq!(
            (&value["form"], &value["provider"]),
            (&"kms".into(), &"vault".into()),
            "{form}: {value}"
        );
        assert_eq!(value["key_id"]["parts"]["key"], fixture.key.as_str());
        assert_eq!(value["transit_version"], 1);
        assert_eq!(value["seed_type"], "HKDF_SHA256_XNONCE_AES_GCM_SEED");
    }
    let text = operator::run(site.dir.path(), &format!("{get} | {PROGRAM} inspect"), &[]).await;
    assert!(
        text.contains("encrypted by KMS v2") && text.contains("version 1"),
        "{text}"
    );
    eprintln!("{text}");
}

fn what_is_no_value_gets_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("value");
    let path = file.to_str().unwrap();
    let missing = inspect(&[path]).expect(78);
    assert!(missing.err.contains(path), "{}", missing.err);
    fs::write(&file, "hunter2").unwrap();
    let foreign = inspect(&[path]).expect(78);
    assert!(foreign.err.contains("no value of kube-apiserver") && !foreign.err.contains("hunter2"));
    fs::write(&file, "k8s:enc:kms:v2:vault:").unwrap();
    let cut = inspect(&[path]).expect(78);
    assert!(cut.out.contains("cut off"), "{}", cut.out);
}

tests! {
    multi a_value_is_described_in_whatever_form_it_is_given [Vault, Kubernetes, EtcdTools];
    plain what_is_no_value_gets_a_clear_error;
}
