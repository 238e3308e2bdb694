//! `status`: the state of the running daemon, as text and as JSON.

mod container;
mod reasons;

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

/// The output of a command and its exit code.
struct CommandOutput {
    code: i32,
    text: String,
}

/// Runs `status` against this daemon.
async fn status(daemon: &Daemon, more: &[&str]) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vault-kms-plugin"));
    child::clean_environment(&mut command);
    command
        .args(["status", "--config"])
        .arg(daemon.config_path());
    command.args(more);
    output(command).await
}

async fn output(mut command: Command) -> CommandOutput {
    let running = tokio::task::spawn_blocking(move || command.output());
    let output = running.await.unwrap().unwrap();
    let text = [output.stdout, output.stderr].concat();
    CommandOutput {
        code: output.status.code().unwrap(),
        text: String::from_utf8(text).unwrap(),
    }
}

fn an_option_before_the_command_overrides_the_environment() {
    for arguments in [
        ["--config", "/nonexistent/option.toml", "status"],
        ["status", "--config", "/nonexistent/option.toml"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vault-kms-plugin"));
        child::clean_environment(&mut command);
        command.env("VAULT_KMS_PLUGIN_CONFIG", "/nonexistent/variable.toml");
        let output = command.args(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(text.contains("/nonexistent/option.toml"), "{text}");
        assert!(!text.contains("variable.toml"), "{text}");
    }
}

async fn report(daemon: &Daemon) -> Value {
    let output = status(daemon, &["--json"]).await;
    serde_json::from_str(&output.text).unwrap_or_else(|error| panic!("{error}: {}", output.text))
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

async fn status_shows_session_key_calls_and_peers() {
    let (fixture, daemon, client) = ready(|builder| builder).await;
    client.decrypt(b"vault:v1:AAAA", "x").await.unwrap_err();
    let output = status(&daemon, &[]).await;
    assert_eq!(output.code, 0, "{}", output.text);
    let own_pid = format!(
        "pid {} uid {} gid {}: 1",
        std::process::id(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw()
    );
    for part in [
        "ready       yes: Status returns ok",
        "session     by token, until ",
        ", renewed in ",
        "key         version 1 of ",
        ", announced",
        "sha256:",
        "1 failed, 0 waiting now",
        &own_pid,
        "last reload none since the start",
    ] {
        assert!(
            output.text.contains(part),
            "no {part:?} in:\n{}",
            output.text
        );
    }
    assert!(!output.text.contains(&fixture.token));
    let report = report(&daemon).await;
    assert_eq!(report["calls"]["failed"], 1);
    assert_eq!(report["session"]["logins"], 1);
    assert_eq!(report["ready"], true);
}

async fn status_shows_errors_with_their_reasons() {
    let (fixture, daemon, client) = ready(|builder| builder).await;
    let good = std::fs::read_to_string(daemon.config_path()).unwrap();
    daemon.write_config(&format!("{good}\n[nonsense]\n"));
    daemon.signal(Signal::HUP);
    wait::until_true("the refusal", LIMIT, async || {
        daemon.log().contains("configuration rejected")
    })
    .await;
    // The file that was refused is still there.
    let output = status(&daemon, &[]).await;
    assert!(
        output.text.contains("last reload REFUSED "),
        "{}",
        output.text
    );
    assert!(output.text.contains("nonsense"), "{}", output.text);

    let vault = Vault::shared().await;
    vault.delete_key(&fixture.mount, &fixture.key).await;
    client.encrypt(&SEED).await.unwrap_err();
    wait::until_true("the verdict", LIMIT, async || {
        report(&daemon).await["key"]["verdict"] == true
    })
    .await;
    let output = status(&daemon, &[]).await;
    assert!(
        output.text.contains("ready       NO (key_missing): "),
        "{}",
        output.text
    );
    let report = report(&daemon).await;
    assert_eq!(report["reason_code"], "key_missing", "{report}");
    assert_eq!(report["key"]["error_code"], "key_missing", "{report}");
    assert!(
        output.text.contains("only an operator can fix it: "),
        "{}",
        output.text
    );
}

async fn status_needs_no_valid_file() {
    let (_fixture, daemon, _client) = ready(|builder| builder).await;
    // Not even TOML: only the default address is left, where another daemon may listen.
    daemon.write_config("[admin]\nlisten = \"127.0.0.1:1\nkey = s3cret");
    let broken = status(&daemon, &[]).await;
    assert!(broken.text.contains("invalid TOML"), "{}", broken.text);
    assert!(broken.text.contains("127.0.0.1:8790"), "{}", broken.text);
    assert!(!broken.text.contains("s3cret"), "{}", broken.text);
    let address = daemon.admin_address();
    let given = status(&daemon, &["--address", address]).await;
    assert_eq!(given.code, 0, "{}", given.text);
    assert!(given.text.contains("ready       yes"), "{}", given.text);
    // A wrong value elsewhere, and another address in the environment, which takes precedence.
    daemon.write_config("[admin]\nlisten = \"127.0.0.1:1\"\n[vault]\naddress = 3\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vault-kms-plugin"));
    child::clean_environment(&mut command);
    command
        .args(["status", "--config"])
        .arg(daemon.config_path());
    command.env("VAULT_KMS_PLUGIN_ADMIN_LISTEN", address);
    let of_environment = output(command).await;
    assert_eq!(of_environment.code, 0, "{}", of_environment.text);
    let of_file = status(&daemon, &[]).await;
    assert_eq!(of_file.code, 69, "{}", of_file.text);
    assert!(
        of_file.text.contains("127.0.0.1:1 cannot"),
        "{}",
        of_file.text
    );
}

/// Runs `reload` against this daemon.
async fn reload(daemon: &Daemon, more: &[&str]) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vault-kms-plugin"));
    child::clean_environment(&mut command);
    command
        .args(["reload", "--config"])
        .arg(daemon.config_path());
    command.args(more);
    output(command).await
}

async fn reload_waits_for_the_outcome_and_prints_it() {
    let (_fixture, daemon, client) = ready(|builder| builder).await;
    daemon.change_config("[health]\ntolerance = \"5m\"");
    let applied = reload(&daemon, &[]).await;
    assert_eq!((applied.code, applied.text.as_str()), (0, "applied\n"));
    // The address that answers changes with it.
    let place = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", place.path().join("admin.sock").display());
    let before = daemon.admin_address().to_owned();
    daemon.change_config(&format!("[admin]\nlisten = \"{socket}\""));
    let moved = reload(&daemon, &["--address", &before]).await;
    assert_eq!((moved.code, moved.text.as_str()), (0, "applied\n"));
    daemon.change_config("[transit]\nkey = \"mistyped\"");
    let refused = reload(&daemon, &[]).await;
    assert_eq!(refused.code, 78, "{}", refused.text);
    for part in ["the reload was refused", "wrote what etcd holds"] {
        assert!(refused.text.contains(part), "{}", refused.text);
    }
    let config = std::fs::read_to_string(daemon.config_path()).unwrap();
    daemon.write_config(&format!("{config}\n[nonsense]\n"));
    let invalid = reload(&daemon, &[]).await;
    assert_eq!(invalid.code, 78, "{}", invalid.text);
    assert!(invalid.text.contains("nonsense"), "{}", invalid.text);
    client.encrypt(&SEED).await.unwrap();
    daemon.kill();
    let away = reload(&daemon, &["--address", &socket]).await;
    assert_eq!(away.code, 69, "{}", away.text);
    assert!(
        away.text.contains("does vault-kms-plugin run"),
        "{}",
        away.text
    );
}

async fn the_admin_server_listens_on_a_port_a_socket_or_nowhere() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("admin.sock");
    // As a process that was killed leaves it.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listen = format!("[admin]\nlisten = \"unix:{}\"", path.display());
    let (_fixture, daemon, _client) = ready(|builder| builder.extra(&listen)).await;
    let mut output = status(&daemon, &[]).await;
    wait::until_true("the socket to be served", LIMIT, async || {
        output = status(&daemon, &[]).await;
        output.code == 0
    })
    .await;
    assert!(output.text.contains("ready       yes"), "{}", output.text);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    daemon.change_config("[admin]\nlisten = \"\"");
    daemon.signal(Signal::HUP);
    wait::until_true("the socket to be left", LIMIT, async || {
        status(&daemon, &[]).await.code != 0
    })
    .await;
    let output = status(&daemon, &[]).await;
    assert_eq!(output.code, 69);
    assert!(
        output.text.contains("admin.listen is empty"),
        "{}",
        output.text
    );
    assert!(!path.exists(), "the file goes with the socket");
}

async fn idle_clients_do_not_delay_a_probe() {
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

async fn a_daemon_that_does_not_run_is_reported() {
    let (_fixture, daemon, _client) = ready(|builder| builder).await;
    daemon.kill();
    let output = status(&daemon, &[]).await;
    assert_eq!(output.code, 69);
    assert!(
        output.text.contains("does vault-kms-plugin run"),
        "{}",
        output.text
    );
}

/// The operator compares two hashes by eye.
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

tests! {
    [container, reasons]
    plain an_option_before_the_command_overrides_the_environment;
    single status_shows_session_key_calls_and_peers [Vault];
    single status_shows_errors_with_their_reasons [Vault];
    single status_needs_no_valid_file [Vault];
    single reload_waits_for_the_outcome_and_prints_it [Vault];
    single the_admin_server_listens_on_a_port_a_socket_or_nowhere [Vault];
    single idle_clients_do_not_delay_a_probe [Vault];
    single a_daemon_that_does_not_run_is_reported [Vault];
    single the_hash_is_the_one_that_kube_apiserver_shows [Vault, Kubernetes];
}
