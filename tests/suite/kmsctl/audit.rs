//! `audit` of a real cluster that holds every form, live and as a snapshot; its proof, its advice, and its last resort.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use vault_kms_plugin::kmsctl::cli::Cli;

use super::site::{
    NAMESPACE, PROGRAM, Site, aescbc, findings, finish, identity, operators, secrets_by,
};
use crate::documents::kubeconfig;
use crate::harness::vault::{Fixture, Vault};
use crate::harness::{operator, wait};

const SECRETS: &str = "[secrets]";
const PLAINTEXT: &str = "the-plaintext-of-a-test";
/// kube-apiserver asks for Status once a minute.
const ROTATED: Duration = Duration::from_secs(120);

impl Site {
    /// The same against the file, with the exit code that is expected, as JSON.
    async fn audit_json(&self, code: i32, more: &[&str]) -> Value {
        let file = self.file();
        let file = ["--encryption-config", file.to_str().unwrap(), "--json"];
        let ended = self.audit(&[&file, more].concat()).await.expect(code);
        serde_json::from_str(&ended.out).unwrap()
    }

    async fn verify(&self, code: i32) -> Value {
        let config = self.daemon.config_path();
        self.audit_json(code, &["--verify", "--config", config.to_str().unwrap()])
            .await
    }

    async fn secret(&self, name: &str) {
        let (code, answer) = self
            .kubernetes
            .create_secret(NAMESPACE, name, PLAINTEXT)
            .await;
        assert_eq!(code, 201, "{answer}");
    }

    /// The values of a Secret in etcd.
    async fn value(&self, name: &str) -> Vec<u8> {
        let values = self.etcd.range(&key(name)).await;
        values
            .into_iter()
            .find(|(of, _)| of == key(name).as_bytes())
            .unwrap()
            .1
    }
}

fn key(name: &str) -> String {
    format!("/registry/secrets/{NAMESPACE}/{name}")
}

fn finding<'a>(report: &'a Value, kind: &str) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .find(|one| one["kind"] == kind)
        .unwrap_or_else(|| panic!("{report:#}"))
}

/// Rotates the key, and waits until kube-apiserver writes with the new version.
async fn rotate(site: &Site, vault: &Vault, fixture: &Fixture) {
    vault.rotate(&fixture.mount, &fixture.key).await;
    site.secret("rotated").await;
    wait::until_true("the new version in etcd", ROTATED, async || {
        // It is written if kube-apiserver follows another key_id than that of its value.
        site.kubernetes.rewrite_secret(NAMESPACE, "rotated").await;
        site.kubernetes.readyz().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let value = site.value("rotated").await;
        String::from_utf8_lossy(&value).contains("vault:v2:")
    })
    .await;
}

/// A cluster with Secrets of every provider: 2 not encrypted, 2 of aescbc, 2 of KMS v1, 3 of the first and some of the
/// second version under KMS v2, which writes.
async fn mixed(vault: &Vault, fixture: &Fixture) -> Site {
    let site = Site::start(vault, fixture).await;
    for name in ["plain-0", "plain-1"] {
        site.secret(name).await;
    }
    site.configure_resources(SECRETS, &[aescbc(), identity()])
        .await;
    for name in ["aes-0", "aes-1"] {
        site.secret(name).await;
    }
    site.configure_resources(SECRETS, &[site.kms("v1", "old"), aescbc(), identity()])
        .await;
    for name in ["v1-0", "v1-1"] {
        site.secret(name).await;
    }
    let providers = [
        site.kms("v2", "vault"),
        site.kms("v1", "old"),
        aescbc(),
        identity(),
    ];
    site.configure_resources(SECRETS, &providers).await;
    for name in ["v2-0", "v2-1", "v2-2"] {
        site.secret(name).await;
    }
    rotate(&site, vault, fixture).await;
    site
}

async fn each_form_of_a_mixed_cluster_is_found_and_proven() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    let site = mixed(&vault, &fixture).await;
    let report = site.verify(1).await;
    let counted = |provider| secrets_by(&report, provider);
    assert_eq!(
        (
            counted("identity"),
            counted("aescbc"),
            counted("kms v1 old")
        ),
        (2, 2, 2),
        "{report:#}"
    );
    let written = counted("kms v2 vault");
    let kinds = [
        ("not_encrypted", 2),
        ("other_provider", 4),
        ("stale_key", 3),
    ];
    let expected: Vec<_> = kinds.map(|(kind, count)| (kind.to_owned(), count)).into();
    assert_eq!(findings(&report), expected, "{report:#}");
    let verified = &report["verified"];
    assert_eq!(verified["authentic"], json!(written + 2), "{report:#}");
    assert_eq!(verified["unreadable"], json!(0));
    // Two seeds of KMS v2, and one key for each object of v1.
    assert_eq!(
        (&verified["seeds"], &report["distinct_seeds"]),
        (&json!(4), &json!(4))
    );
    // The key of v2 is named, and needed from version 1 on.
    let keys = report["keys"].as_array().unwrap();
    let named = keys
        .iter()
        .find(|one| one["key"]["key"]["name"] == json!(fixture.key))
        .unwrap();
    assert_eq!(
        (&named["safe_minimum"], &named["command"]),
        (&json!(1), &Value::Null)
    );
    assert_eq!(named["versions"][0]["objects"], json!(3));

    // Without the file and without Vault the newest write shows as much.
    let ended = site.audit(&["--json"]).await.expect(1);
    let plain: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(findings(&plain), findings(&report));

    // The same from a snapshot.
    let snapshot = site.path("snapshot.db");
    site.save_snapshot(&snapshot).await;
    let file = site.file();
    let offline = [
        "audit",
        "--snapshot",
        snapshot.to_str().unwrap(),
        "--json",
        "--encryption-config",
        file.to_str().unwrap(),
    ];
    let ended = finish(operators(&offline)).await.expect(1);
    let offline: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(findings(&offline), findings(&report));

    // For people; no output shows a plaintext.
    let text = site
        .audit(&[
            "--encryption-config",
            file.to_str().unwrap(),
            "--namespaces",
        ])
        .await
        .expect(1);
    for expected in [
        "NOT ENCRYPTED",
        "STALE",
        "OTHER PROVIDER",
        "secrets default/plain-0",
        "vault-kmsctl migrate",
    ] {
        assert!(text.out.contains(expected), "{expected}: {}", text.out);
    }
    assert!(!text.out.contains(PLAINTEXT) && !ended.out.contains(PLAINTEXT));
    eprintln!("{}", text.out);
}

async fn an_encrypted_cluster_is_clean_and_says_which_versions_may_go() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    let site = Site::start(&vault, &fixture).await;
    site.configure_resources(SECRETS, &[site.kms("v2", "vault"), identity()])
        .await;
    for name in ["first-0", "first-1"] {
        site.secret(name).await;
    }
    let before = site.path("before.db");
    site.save_snapshot(&before).await;
    rotate(&site, &vault, &fixture).await;
    let report = site.verify(1).await;
    assert_eq!(findings(&report), [("stale_key".to_owned(), 2)]);
    for name in ["first-0", "first-1"] {
        assert_eq!(site.kubernetes.rewrite_secret(NAMESPACE, name).await.0, 200);
    }
    // Clean, but the old revisions are still there, until etcd is compacted.
    let report = site.verify(0).await;
    let first = &report["keys"][0]["versions"][0];
    assert_eq!(
        (&first["version"], &first["objects"]),
        (&json!(1), &json!(0)),
        "{report:#}"
    );
    assert!(first["older_revisions"].as_u64().unwrap() >= 2);
    assert_eq!(report["keys"][0]["command"], Value::Null);
    site.compact().await;
    let metrics = site.path("audit.prom");
    let config = site.daemon.config_path();
    let more = [
        "--config",
        config.to_str().unwrap(),
        "--metrics",
        metrics.to_str().unwrap(),
    ];
    let report = site.audit_json(0, &more).await;
    let command = report["keys"][0]["command"].as_str().unwrap();
    let expected = format!(
        "vault write {}/keys/{}/config min_decryption_version=2",
        fixture.mount, fixture.key
    );
    assert_eq!(command, expected);
    let metrics = fs::read_to_string(&metrics).unwrap();
    assert!(
        metrics.contains("vault_kmsctl_audit_findings{kind=\"stale_key\"} 0"),
        "{metrics}"
    );
    assert!(
        prometheus_parse::Scrape::parse(metrics.lines().map(|line| Ok(line.to_owned()))).is_ok()
    );
    // A backup needs what it was made with.
    let held = site
        .audit_json(
            0,
            &[&more[..2], &["--backup", before.to_str().unwrap()]].concat(),
        )
        .await;
    assert_eq!(held["keys"][0]["safe_minimum"], json!(1), "{held:#}");
    assert_eq!(held["keys"][0]["command"], Value::Null);
    // Followed, the advice leaves everything readable.
    let settings = json!({ "min_decryption_version": 2 });
    vault
        .configure_key(&fixture.mount, &fixture.key, settings)
        .await;
    let report = site.verify(0).await;
    assert_eq!(report["verified"]["unreadable"], json!(0));
    assert_eq!(
        report["keys"][0]["command"],
        Value::Null,
        "it is set already"
    );
}

async fn what_cannot_be_read_is_named_with_its_remedy() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    let site = Site::start(&vault, &fixture).await;
    site.configure_resources(SECRETS, &[site.kms("v2", "vault"), identity()])
        .await;
    for name in ["lost-0", "moved", "cut", "good"] {
        site.secret(name).await;
    }
    rotate(&site, &vault, &fixture).await;
    let changed = |mut value: Vec<u8>, at: usize| {
        value[at] ^= 1;
        value
    };
    // One bit of the ciphertext; another object's value; the end of a value.
    let lost = site.value("lost-0").await;
    let lost = changed(lost, 80);
    site.etcd.put(key("lost-0").as_bytes(), &lost).await;
    let good = site.value("good").await;
    site.etcd.put(key("moved").as_bytes(), &good).await;
    let cut = site.value("cut").await;
    site.etcd
        .put(key("cut").as_bytes(), &cut[..cut.len() / 3])
        .await;
    let report = site.verify(1).await;
    let unreadable = finding(&report, "unreadable");
    assert_eq!(unreadable["count"], json!(2), "{report:#}");
    assert!(
        unreadable["text"]
            .as_str()
            .unwrap()
            .contains("authentication tag")
    );
    let damaged = finding(&report, "damaged");
    assert!(
        damaged["names"][0]
            .as_str()
            .unwrap()
            .starts_with("secrets default/cut: "),
        "{damaged:#}"
    );
    assert_eq!(
        report["keys"][0]["safe_minimum"],
        Value::Null,
        "a damaged value could need any version"
    );

    // The last resort removes what cannot be read, and nothing else.
    let requests = unreadable["last_resort"].as_array().unwrap();
    fs::write(site.path("kubeconfig"), kubeconfig(&site.kubernetes)).unwrap();
    for request in requests
        .iter()
        .chain(damaged["last_resort"].as_array().unwrap())
    {
        operator::run(site.dir.path(), request.as_str().unwrap(), &[]).await;
    }
    for name in ["lost-0", "moved", "cut"] {
        assert_eq!(site.etcd.range(&key(name)).await.len(), 0, "{name}");
    }
    assert!(site.kubernetes.read_secret(NAMESPACE, "good").await.is_ok());

    // A version that may not decrypt any more: the remedy says so, and helps.
    let settings = |version: u32| json!({ "min_decryption_version": version });
    vault
        .configure_key(&fixture.mount, &fixture.key, settings(2))
        .await;
    let report = site.verify(1).await;
    let unreadable = finding(&report, "unreadable");
    assert_eq!(
        unreadable["names"],
        json!(["secrets default/good"]),
        "{report:#}"
    );
    assert!(
        unreadable["remedy"]
            .as_str()
            .unwrap()
            .contains("lower min_decryption_version")
    );
    assert!(
        unreadable["last_resort"].is_null(),
        "Vault makes it readable again"
    );
    let reasons = report["keys"][0]["reasons"].to_string();
    assert!(reasons.contains("lower it to 1"), "{reasons}");
    vault
        .configure_key(&fixture.mount, &fixture.key, settings(1))
        .await;
    let report = site.verify(1).await;
    assert_eq!(findings(&report), [("stale_key".to_owned(), 1)]);
}

async fn a_wrong_input_is_not_an_unreachable_server() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture).await;
    site.secret("one").await;
    // Nothing below the prefix must not look clean.
    let ended = site.audit(&["--prefix", "/elsewhere"]).await.expect(78);
    assert!(
        ended.err.contains("holds no object below /elsewhere") && ended.err.contains("--prefix"),
        "{}",
        ended.err
    );
    let wrong = site.path("wrong.yaml");
    fs::write(&wrong, "kind: Secret\n").unwrap();
    let ended = site
        .audit(&["--encryption-config", wrong.to_str().unwrap()])
        .await
        .expect(78);
    assert!(ended.err.contains("wrong.yaml"), "{}", ended.err);
    let none = ["audit", "--endpoints", "http://127.0.0.1:1"];
    let ended = finish(operators(&none)).await.expect(69);
    assert!(ended.err.contains("http://127.0.0.1:1"), "{}", ended.err);
    let snapshot = ["audit", "--snapshot", wrong.to_str().unwrap()];
    finish(operators(&snapshot)).await.expect(78);
    // Vault's refusal is not the object's fault: nothing is reported as lost.
    let config = site.daemon.config_path();
    vault.revoke(&fixture.token).await;
    let ended = site
        .audit(&["--verify", "--config", config.to_str().unwrap()])
        .await
        .expect(69);
    assert!(ended.out.is_empty(), "{}", ended.out);
}

/// deploy/audit, with the program where it was built.
fn the_timer_starts_an_audit_that_systemd_accepts() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/audit");
    let dir = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for name in ["vault-kmsctl-audit.service", "vault-kmsctl-audit.timer"] {
        let text = fs::read_to_string(deploy.join(name)).unwrap();
        let text = text.replace("/usr/local/bin/vault-kmsctl", PROGRAM);
        units.push(dir.path().join(name));
        fs::write(units.last().unwrap(), text).unwrap();
    }
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(&units)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(
        verified.status.success() && !said.contains("vault-kmsctl"),
        "{said}"
    );
    let service = fs::read_to_string(&units[0]).unwrap();
    let line = service
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .unwrap();
    let parsed = Cli::try_parse_from(line.split(' '));
    assert!(parsed.is_ok(), "{line}");
}

tests! {
    multi each_form_of_a_mixed_cluster_is_found_and_proven [Vault, Kubernetes, EtcdTools];
    multi an_encrypted_cluster_is_clean_and_says_which_versions_may_go [Vault, Kubernetes, EtcdTools, Kubectl];
    multi what_cannot_be_read_is_named_with_its_remedy [Vault, Kubernetes, Kubectl];
    plain the_timer_starts_an_audit_that_systemd_accepts [Machines];
    multi a_wrong_input_is_not_an_unreachable_server [Vault, Kubernetes];
}
