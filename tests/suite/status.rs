//! `status`: what the running daemon knows, for a person and for a machine.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio::net::TcpStream;

use super::harness::child;
use super::harness::daemon::{Builder, Daemon};
use super::harness::kms::KmsClient;
use super::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use super::harness::scrape::Metrics;
use super::harness::vault::{Fixture, Vault};
use super::harness::wait;
use super::{LIMIT, daemon_for};

const SEED: [u8; 32] = [6; 32];

/// What the command said, and its exit code.
struct Said {
    code: i32,
    text: String,
}

/// Runs `status` against this daemon.
async fn status(daemon: &Daemon, more: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vault-kms-plugin"));
    child::clean_environment(&mut command);
    command
        .arg("status")
        .arg("--config")
        .arg(daemon.config_path());
    command.args(more);
    let running = tokio::task::spawn_blocking(move || command.output());
    let output = running.await.unwrap().unwrap();
    let text = [output.stdout, output.stderr].concat();
    Said {
        code: output.status.code().unwrap(),
        text: String::from_utf8(text).unwrap(),
    }
}

async fn report(daemon: &Daemon) -> Value {
    let said = status(daemon, &["--json"]).await;
    serde_json::from_str(&said.text).unwrap_or_else(|error| panic!("{error}: {}", said.text))
}

/// Ready, with a client that has called.
async fn ready(change: impl FnOnce(Builder) -> Builder) -> (Fixture, Daemon, KmsClient) {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = change(daemon_for(&vault.address(), &fixture));
    let daemon = builder.spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    client.encrypt(&SEED).await.unwrap();
    (fixture, daemon, client)
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_person_sees_session_key_calls_and_peers_at_one_look() {
    let (fixture, daemon, client) = ready(|builder| builder).await;
    client.decrypt(b"vault:v1:AAAA", "x").await.unwrap_err();
    let said = status(&daemon, &[]).await;
    assert_eq!(said.code, 0, "{}", said.text);
    let own_pid = format!("pid {} uid 0 gid 0: 1", std::process::id());
    for part in [
        "ready       yes: kube-apiserver is told ok",
        "session     by token, until ",
        ", renewed in ",
        "key         version 1 of ",
        ", announced",
        "sha256:",
        "1 failed, 0 waiting now",
        &own_pid,
        "last reload none since the start",
    ] {
        assert!(said.text.contains(part), "no {part:?} in:\n{}", said.text);
    }
    assert!(!said.text.contains(&fixture.token));
    let report = report(&daemon).await;
    assert_eq!(report["calls"]["failed"], 1);
    assert_eq!(report["session"]["logins"], 1);
    assert_eq!(report["ready"], true);
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn what_is_wrong_is_shown_with_its_reason() {
    let (fixture, daemon, client) = ready(|builder| builder).await;
    let good = std::fs::read_to_string(daemon.config_path()).unwrap();
    daemon.write_config(&format!("{good}\n[nonsense]\n"));
    daemon.signal(Signal::HUP);
    wait::until_true("the refusal", LIMIT, async || {
        daemon.log().contains("configuration rejected")
    })
    .await;
    daemon.write_config(&good);
    let said = status(&daemon, &[]).await;
    assert!(said.text.contains("last reload REFUSED "), "{}", said.text);
    assert!(said.text.contains("nonsense"), "{}", said.text);

    let vault = Vault::shared().await;
    vault.delete_key(&fixture.mount, &fixture.key).await;
    client.encrypt(&SEED).await.unwrap_err();
    wait::until_true("the verdict", LIMIT, async || {
        report(&daemon).await["key"]["verdict"] == true
    })
    .await;
    let said = status(&daemon, &[]).await;
    assert!(said.text.contains("ready       NO: "), "{}", said.text);
    assert!(
        said.text.contains("only an operator can fix it: "),
        "{}",
        said.text
    );
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_socket_serves_as_well_as_a_port_and_nowhere_is_possible() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("admin.sock");
    // As a process that was killed leaves it.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listen = format!("[admin]\nlisten = \"unix:{}\"", path.display());
    let (_fixture, daemon, _client) = ready(|builder| builder.extra(&listen)).await;
    let mut said = status(&daemon, &[]).await;
    wait::until_true("the socket to be served", LIMIT, async || {
        said = status(&daemon, &[]).await;
        said.code == 0
    })
    .await;
    assert!(said.text.contains("ready       yes"), "{}", said.text);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    daemon.change_config("[admin]\nlisten = \"\"");
    daemon.signal(Signal::HUP);
    wait::until_true("the socket to be left", LIMIT, async || {
        status(&daemon, &[]).await.code != 0
    })
    .await;
    let said = status(&daemon, &[]).await;
    assert_eq!(said.code, 69);
    assert!(said.text.contains("admin.listen is empty"), "{}", said.text);
    assert!(!path.exists(), "the file goes with the socket");
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn clients_that_say_nothing_do_not_hold_up_a_probe() {
    let (_fixture, daemon, _client) = ready(|builder| builder).await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(daemon.admin_address()).await.unwrap());
    }
    let begun = Instant::now();
    let (code, text) = daemon.admin("/livez").await;
    assert_eq!((code, text.as_str()), (200, "ok\n"));
    // A silent client is left after 5 s.
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(2), "{taken:?}");
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_daemon_that_does_not_run_is_told_of() {
    let (_fixture, daemon, _client) = ready(|builder| builder).await;
    daemon.kill();
    let said = status(&daemon, &[]).await;
    assert_eq!(said.code, 69);
    assert!(
        said.text.contains("does vault-kms-plugin run"),
        "{}",
        said.text
    );
}

/// The operator compares two hashes by eye.
#[tokio::test]
#[cfg_attr(
    any(no_vault, no_kubernetes),
    ignore = "needs Vault, etcd and kube-apiserver, or Go"
)]
async fn the_hash_is_the_one_that_kube_apiserver_shows() {
    let (_fixture, daemon, _client) = ready(|builder| builder).await;
    let etcd = Etcd::start().await;
    let encryption = EncryptionConfiguration::v2(daemon.socket());
    let kubernetes = KubeApiserver::start(&etcd, Some(&encryption), None).await;
    let report = report(&daemon).await;
    let hash = report["key"]["announced"]["key_id_hash"].as_str().unwrap();
    let shown = kubernetes.metrics().await;
    let of_key_id = shown.lines().find(|line| {
        line.starts_with("apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds")
    });
    assert!(
        of_key_id.is_some_and(|line| line.contains(hash)),
        "{hash} is not in {of_key_id:?}"
    );
    let scraped = Metrics::of(&daemon).await;
    let label = scraped.label("vault_kms_plugin_key_info", "key_id_hash");
    assert_eq!(label.as_deref(), Some(hash));
}
