//! `/metrics`: counters and gauges, their names, and their labels.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tonic::Code;

use super::documents::markdown::Page;
use super::harness::certificates::Certificates;
use super::harness::daemon::Daemon;
use super::harness::kms::KmsClient;
use super::harness::scrape::{Metrics, open_metrics};
use super::harness::servers::{self, Server};
use super::harness::vault::Vault;
use super::harness::wait;
use super::keys::state_contains;
use super::tls::{NAMED, trusting, vault_with_tls};
use super::{LIMIT, daemon_for};

const SEED: [u8; 32] = [5; 32];
const CALLS: &str = "vault_kms_plugin_calls_total";
const REQUESTS: &str = "vault_kms_plugin_vault_requests_total";
/// The most that a scrape may hold.
const MAX_SERIES: usize = 200;

/// A daemon that has served a call of each kind, under both versions.
async fn used() -> (Daemon, KmsClient) {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    call_all(daemon_for(&vault.address(), &fixture).spawn().await).await
}

async fn call_all(daemon: Daemon) -> (Daemon, KmsClient) {
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    client.decrypt(&ciphertext, &key_id).await.unwrap();
    client.version_v1().await.unwrap();
    let ciphertext = client.encrypt_v1(&SEED).await.unwrap();
    client.decrypt_v1(&ciphertext).await.unwrap();
    (daemon, client)
}

async fn calls_and_requests_are_counted_by_what_they_were_and_how_they_ended() {
    let (daemon, client) = used().await;
    let before = Metrics::of(&daemon).await;
    client.encrypt(&SEED).await.unwrap();
    let error = client.decrypt(b"vault:v1:AAAA", "x").await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let after = Metrics::of(&daemon).await;
    let grown = |name: &str, labels: &[(&str, &str)]| {
        after.value(name, labels) - before.value(name, labels)
    };
    let ok = [
        ("operation", "encrypt"),
        ("kms_version", "v2"),
        ("code", "OK"),
    ];
    assert_eq!(grown(CALLS, &ok), 1.0);
    let wrong = [("operation", "decrypt"), ("code", "INVALID_ARGUMENT")];
    assert_eq!(grown(CALLS, &wrong), 1.0);
    assert_eq!(
        grown(REQUESTS, &[("operation", "encrypt"), ("outcome", "ok")]),
        1.0
    );
    assert_eq!(
        grown(
            REQUESTS,
            &[("operation", "decrypt"), ("outcome", "refused")]
        ),
        1.0
    );
    for name in [
        "call_duration_seconds",
        "vault_request_duration_seconds",
        "batch_size",
    ] {
        let name = format!("vault_kms_plugin_{name}");
        let labels = [("operation", "encrypt")];
        let grown = after.observed(&name, &labels) - before.observed(&name, &labels);
        assert_eq!(grown, 1.0, "{name}");
    }
    assert_eq!(after.value(REQUESTS, &[("operation", "login")]), 0.0);
    assert_eq!(
        after.value(REQUESTS, &[("operation", "token"), ("outcome", "ok")]),
        1.0
    );
}

async fn a_reload_is_counted_whether_applied_or_refused() {
    let (daemon, _client) = used().await;
    let reloads = async |outcome| {
        let metrics = Metrics::of(&daemon).await;
        metrics.value("vault_kms_plugin_reloads_total", &[("outcome", outcome)])
    };
    assert!(
        Metrics::of(&daemon)
            .await
            .text
            .contains("{outcome=\"refused\"} 0")
    );
    daemon.change_config("[log]\nlevel = \"debug\"");
    daemon.signal(Signal::HUP);
    wait::until_true("the reload", LIMIT, async || {
        reloads("applied").await == 1.0
    })
    .await;
    let good = std::fs::read_to_string(daemon.config_path()).unwrap();
    daemon.write_config("[nonsense");
    daemon.signal(Signal::HUP);
    wait::until_true("the refusal", LIMIT, async || {
        reloads("refused").await == 1.0
    })
    .await;
    assert_eq!(reloads("applied").await, 1.0);
    daemon.write_config(&good);
}

async fn gauges_follow_the_state() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let metrics = Metrics::of(&daemon).await;
    let gauge =
        |metrics: &Metrics, name: &str| metrics.value(&format!("vault_kms_plugin_{name}"), &[]);
    for (name, expected) in [
        ("ready", 1.0),
        ("session_active", 1.0),
        ("session_failing", 0.0),
        ("key_version", 1.0),
        ("key_failing", 0.0),
        ("key_unusable", 0.0),
        ("connections", 1.0),
        ("calls_waiting", 0.0),
    ] {
        assert_eq!(gauge(&metrics, name), expected, "{name}");
    }
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    for name in [
        "last_success_timestamp_seconds",
        "key_created_timestamp_seconds",
    ] {
        assert!((gauge(&metrics, name) - now).abs() < 60.0, "{name}");
    }
    vault.rotate(&fixture.mount, &fixture.key).await;
    // What KMS v1 is given shows the new version at once; else it is found within half a minute.
    client.encrypt_v1(&SEED).await.unwrap();
    wait::until_true("version 2", LIMIT, async || {
        let _ = client.status().await;
        gauge(&Metrics::of(&daemon).await, "key_version") == 2.0
    })
    .await;
    vault.delete_key(&fixture.mount, &fixture.key).await;
    client.encrypt(&SEED).await.unwrap_err();
    wait::until_true("the verdict", LIMIT, async || {
        gauge(&Metrics::of(&daemon).await, "key_unusable") == 1.0
    })
    .await;
    let metrics = Metrics::of(&daemon).await;
    assert_eq!(gauge(&metrics, "key_failing"), 1.0);
    assert_eq!(gauge(&metrics, "ready"), 0.0);
    let condition = |code| metrics.value("vault_kms_plugin_condition", &[("reason_code", code)]);
    assert_eq!(condition("key_missing"), 1.0);
    assert_eq!(condition("vault_sealed"), 0.0);
    let lines = daemon.log();
    let line = lines
        .lines()
        .find(|it| it.contains("unusable until an operator acts"));
    assert!(line.is_some_and(|it| it.contains("key_missing")), "{lines}");
    let (status, text) = daemon.admin("/readyz?verbose").await;
    assert_eq!(status, 503);
    for line in [
        "[+]key-proven ok",
        "[-]no-verdict failed: key_missing: ",
        "readyz check failed",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

/// Under KMS v1 nobody calls Status, so what it announced last says nothing of what writes.
async fn the_key_version_follows_a_rotation_where_nobody_calls_status() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    wait::until("an Encrypt", LIMIT, async || {
        client.encrypt_v1(&SEED).await.ok()
    })
    .await;
    let version = |number: u32| format!("{}:v{number}:", fixture.key);
    state_contains(&daemon, &version(1)).await;
    daemon.restart().await;
    let client = KmsClient::connect(daemon.socket());
    client.encrypt_v1(&SEED).await.unwrap();
    let hash = async || {
        let metrics = Metrics::of(&daemon).await;
        metrics.label("vault_kms_plugin_key_info", "key_id_hash")
    };
    let before = hash().await;
    vault.rotate(&fixture.mount, &fixture.key).await;
    let ciphertext = client.encrypt_v1(&SEED).await.unwrap();
    assert!(ciphertext.starts_with(b"vault:v2:"), "{ciphertext:?}");
    wait::until_true("version 2 in the metrics", LIMIT, async || {
        let metrics = Metrics::of(&daemon).await;
        metrics.value("vault_kms_plugin_key_version", &[]) == 2.0
    })
    .await;
    assert_ne!(hash().await, before);
    state_contains(&daemon, &version(2)).await;
}

async fn a_scrape_is_short_secret_free_and_the_same_in_both_formats() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    client.encrypt(&SEED).await.unwrap();
    client.encrypt_v1(&SEED).await.unwrap();
    let metrics = Metrics::of(&daemon).await;
    assert!(metrics.series() <= MAX_SERIES, "{}", metrics.text);
    assert!(!metrics.text.contains(&fixture.token));
    for name in [
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
    ] {
        assert!(metrics.value(name, &[]) > 0.0, "{name}");
    }
    let open = open_metrics(&daemon).await;
    assert!(open.ends_with("# EOF\n"), "{open}");
    for name in metrics.names() {
        assert!(open.contains(name), "{name} is not in:\n{open}");
    }
}

/// Every name of a scrape is documented, and every documented name is scraped.
async fn the_document_lists_each_metric() {
    const DOCUMENT: &str = include_str!("../../docs/metrics.md");
    let certificates = Certificates::new();
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let builder = trusting(daemon_for(&address, &fixture), &certificates, NAMED);
    let (daemon, _client) = call_all(builder.spawn().await).await;
    let metrics = Metrics::of(&daemon).await;
    let name = "vault_kms_plugin_certificate_end_timestamp_seconds";
    let end = metrics.value(name, &[("of", "server")]);
    assert!(end > std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64());
    let quoted: BTreeSet<&str> = DOCUMENT.split('`').skip(1).step_by(2).collect();
    let in_tables = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    for name in metrics.names() {
        let name = name.trim_start_matches("vault_kms_plugin_");
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|it| name.strip_suffix(it));
        let is_listed = quoted.contains(name) || base.is_some_and(|base| quoted.contains(base));
        assert!(is_listed, "docs/metrics.md does not list {name}");
    }
    for name in in_tables {
        let known = metrics
            .text
            .contains(&format!("# TYPE vault_kms_plugin_{name} "));
        assert!(known, "docs/metrics.md lists {name}, which is not scraped");
    }
}

/// What Prometheus's own tool finds wrong with names, types and help.
async fn promtool_accepts_the_exposition() {
    let (daemon, _client) = used().await;
    let metrics = Metrics::of(&daemon).await;
    let promtool = servers::binary(Server::Promtool);
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(metrics.text.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

async fn connections_that_ended_are_not_counted_any_more() {
    let (daemon, client) = used().await;
    for _ in 0..20 {
        let passer_by = KmsClient::connect(daemon.socket());
        passer_by.encrypt(&SEED).await.unwrap();
    }
    drop(client);
    wait::until_true("the connections to end", LIMIT, async || {
        let metrics = Metrics::of(&daemon).await;
        metrics.value("vault_kms_plugin_connections", &[]) == 0.0
    })
    .await;
}

async fn the_documents_commands_read_the_metrics_from_a_unix_socket() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = daemon_for(&vault.address(), &fixture);
    let dir = builder.dir().display().to_string();
    let listen = format!("[admin]\nlisten = \"unix:{dir}/admin.sock\"");
    let daemon = builder.extra(&listen).spawn().await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let blocks = Page::read(&page).blocks("Unix socket", "sh");
    let text = blocks
        .concat()
        .replace("/run/vault-kms-plugin", &dir)
        .replace("/var/lib/node_exporter/textfile", &dir);
    let mut command = Command::new("sh");
    command.args(["-euc", &text]);
    let ended = tokio::task::spawn_blocking(move || command.output());
    let ended = ended.await.unwrap().unwrap();
    assert!(ended.status.success(), "{text}\n{ended:?}");
    let written = std::fs::read_to_string(format!("{dir}/vault-kms-plugin.prom")).unwrap();
    assert!(written.contains("\nvault_kms_plugin_ready 1"), "{written}");
}

tests! {
    single the_documents_commands_read_the_metrics_from_a_unix_socket [Vault];
    single calls_and_requests_are_counted_by_what_they_were_and_how_they_ended [Vault];
    single a_reload_is_counted_whether_applied_or_refused [Vault];
    single gauges_follow_the_state [Vault];
    single the_key_version_follows_a_rotation_where_nobody_calls_status [Vault];
    single a_scrape_is_short_secret_free_and_the_same_in_both_formats [Vault];
    single the_document_lists_each_metric [Vault];
    single promtool_accepts_the_exposition [Vault, Promtool];
    single connections_that_ended_are_not_counted_any_more [Vault];
}
