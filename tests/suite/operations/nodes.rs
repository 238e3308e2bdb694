//! docs/operations/control-plane-nodes.md: a node joins, another one goes.

use serde_json::json;

use super::{Shell, Site, assert_readable, is_readable, page, write, write_all};
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::kubernetes::{EncryptionConfiguration, KubeApiserver};
use crate::harness::vault::{Fixture, Vault};
use crate::{LIMIT, daemon_for};

const KMS: (&str, &str) = ("v2", "vault");
const SECRETS: usize = 10;
const FILE: &str = "/etc/kubernetes/enc/encryption.yaml";

/// A token of its own for each node, and its accessor.
async fn credential(vault: &Vault, fixture: &Fixture) -> (String, String) {
    let body = json!({ "policies": [&fixture.policy], "period": "768h", "no_parent": true });
    let answer = vault.expect("POST", "auth/token/create", Some(body)).await;
    let text = |name: &str| answer["auth"][name].as_str().unwrap().to_owned();
    (text("client_token"), text("accessor"))
}

/// The page's command, on a node with this plugin.
async fn check(daemon: &Daemon, yaml: &str) -> String {
    let file = daemon.dir().join("encryption.yaml");
    std::fs::write(&file, yaml).unwrap();
    let config = daemon.config_path().display().to_string();
    let program = env!("CARGO_BIN_EXE_vault-kms-plugin");
    let shell = Shell::new()
        .means(
            "vault-kms-plugin check",
            &format!("{program} check --config {config}"),
        )
        .means(FILE, file.to_str().unwrap());
    let blocks = page("control-plane-nodes.md").blocks("Joining a node", "sh");
    shell.run(&blocks).await
}

async fn a_node_that_joins_reads_and_writes_and_outlives_the_one_that_goes() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let (old_token, accessor) = credential(vault, &fixture).await;
    let of_old = Fixture {
        token: old_token,
        ..fixture.clone()
    };
    let old = Site::start(vault, &of_old, &[KMS]).await;
    write_all(&old.kubernetes, "old", SECRETS).await;

    let (new_token, _) = credential(vault, &fixture).await;
    let daemon = daemon_for(&vault.address(), &fixture).token(&new_token);
    let daemon = daemon.spawn().await;
    let client = KmsClient::connect(daemon.socket());
    let announced = client.wait_ok(LIMIT).await.key_id;
    let of_the_old = KmsClient::connect(old.daemon.socket());
    assert_eq!(announced, of_the_old.status().await.unwrap().key_id);
    let yaml = EncryptionConfiguration::v2(daemon.socket());
    let checked = check(&daemon, &yaml).await;
    assert!(checked.contains("writes secrets"), "{checked}");
    let new = KubeApiserver::start(&old.etcd, Some(&yaml), None).await;
    assert_readable(&new, "old", SECRETS).await;
    write(&new, "by-new").await;
    assert!(is_readable(&old.kubernetes, "by-new").await);

    // The other one goes, and its token is worth nothing any more.
    let Site {
        daemon: old_daemon,
        etcd: _etcd,
        kubernetes,
    } = old;
    drop(kubernetes);
    old_daemon.kill();
    let revoke = page("control-plane-nodes.md").blocks("Replacing a node", "console");
    let shell = Shell::new()
        .of_vault(vault, &fixture)
        .means("ACCESSOR", &accessor);
    shell.run(&revoke).await;
    let lookup = json!({ "accessor": accessor });
    let path = "auth/token/lookup-accessor";
    let (code, answer) = vault.request("POST", path, Some(lookup)).await;
    assert_ne!(code, 200, "{answer}");
    new.restart().await;
    assert_readable(&new, "old", SECRETS).await;
    write(&new, "after").await;
}

tests! {
    multi a_node_that_joins_reads_and_writes_and_outlives_the_one_that_goes [Vault, Kubernetes, EtcdTools];
}
