//! deploy/monitoring: the alerts fire when they should, each has a paragraph of the runbook, and every
//! queried metric exists.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::harness::certificates::Certificates;
use super::harness::kms::KmsClient;
use super::harness::scrape::Metrics;
use super::harness::servers::{self, Server};
use super::tls::{NAMED, trusting, vault_with_tls};
use super::{LIMIT, daemon_for};

const ALERTS: &str = include_str!("../../deploy/monitoring/alerts.yaml");
const RUNBOOK: &str = include_str!("../../docs/runbook.md");
const METRICS: &str = include_str!("../../docs/metrics.md");
const PREFIX: &str = "vault_kms_plugin_";

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/monitoring")
}

fn promtool(arguments: &[&str]) {
    let mut command = Command::new(servers::binary(Server::Promtool));
    let output = command.args(arguments).current_dir(dir()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

/// The names of ours in a text, without what a histogram adds.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    let ours = words.filter_map(|word| word.strip_prefix(PREFIX));
    let parts = ["_bucket", "_sum", "_count"];
    let whole = |name: &str| {
        let base = parts.iter().find_map(|part| name.strip_suffix(part));
        base.unwrap_or(name).to_owned()
    };
    ours.map(whole).collect()
}

fn each_alert_fires_when_it_should_and_not_before() {
    promtool(&["check", "rules", "alerts.yaml"]);
    promtool(&["test", "rules", "alerts.test.yaml"]);
}

/// Grafana puts in the job and the interval.
fn promtool_accepts_the_queries_of_the_dashboard() {
    let text = std::fs::read_to_string(dir().join("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions = targets.map(|target| {
        let text = target["expr"].as_str().unwrap();
        text.replace("$__rate_interval", "5m").replace("$job", "x")
    });
    for expression in expressions {
        promtool(&["--experimental", "promql", "format", &expression]);
    }
}

fn alerts() -> impl Iterator<Item = &'static str> {
    let lines = ALERTS.lines();
    lines.filter_map(|line| line.trim().strip_prefix("- alert: "))
}

fn each_alert_has_its_paragraph_and_its_test() {
    let tests = std::fs::read_to_string(dir().join("alerts.test.yaml")).unwrap();
    let mut count = 0;
    for alert in alerts() {
        assert!(
            RUNBOOK.contains(&format!("\n## {alert}\n")),
            "{alert} is not in docs/runbook.md"
        );
        let anchor = format!("docs/runbook.md#{}", alert.to_lowercase());
        assert!(
            ALERTS.contains(&anchor),
            "{alert} does not name its paragraph"
        );
        assert!(
            tests.contains(&format!("alertname: {alert} ")),
            "{alert} is never silent in a test"
        );
        assert!(
            tests.contains(&format!("alertname=\"{alert}\"")),
            "{alert} never speaks in a test"
        );
        count += 1;
    }
    assert_eq!(RUNBOOK.matches("\n## ").count(), count);
}

/// A series that begins with its first event has no increase from zero: no rate and no alert sees it.
async fn the_tests_of_the_alerts_begin_with_what_a_fresh_daemon_exposes() {
    let certificates = Certificates::new();
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let builder = trusting(daemon_for(&address, &fixture), &certificates, NAMED);
    let daemon = builder.spawn().await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    let fresh = Metrics::of(&daemon).await;
    let tests = std::fs::read_to_string(dir().join("alerts.test.yaml")).unwrap();
    let mut count = 0;
    for series in tests.split("series: '").skip(1) {
        let (name, rest) = series.split_once('{').unwrap();
        let labels = rest.split_once('}').unwrap().0;
        // Of Prometheus and of kube-apiserver. A histogram begins with its first value, from which its
        // rates are right.
        if !name.starts_with(PREFIX) || name.ends_with("_bucket") {
            continue;
        }
        let labels: Vec<_> = labels
            .split(", ")
            .filter_map(|label| label.split_once('='))
            .filter(|(label, _)| ["operation", "outcome", "actor", "reason_code"].contains(label))
            .map(|(label, value)| (label, value.trim_matches('"')))
            .collect();
        assert!(
            fresh.find(name, &labels).is_some(),
            "no {name} {labels:?} in:\n{}",
            fresh.text
        );
        count += 1;
    }
    assert!(count > 40, "only {count} series were found");

    // And no alert fires on it: promtool begins at 1970.
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let mut input = String::new();
    for line in fresh.text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let mut value: f64 = value.parse().unwrap();
        if series.contains("timestamp_seconds") || series.contains("start_time_seconds") {
            value -= now;
        }
        let step = if series.contains("last_success") {
            30
        } else {
            0
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let comma = if labels == "}" { "" } else { ", " };
        let series = format!("{name}{{job=\"vault-kms-plugin\", instance=\"a\"{comma}{labels}");
        let _ = writeln!(
            input,
            "      - {{ series: '{series}', values: \"{value}+{step}x20\" }}"
        );
    }
    let up = "up{job=\"vault-kms-plugin\", instance=\"a\"}";
    let _ = writeln!(input, "      - {{ series: '{up}', values: \"1x20\" }}");
    // Of kube-apiserver, which is not part of this.
    let silent: String = alerts()
        .filter(|alert| *alert != "VaultKmsPluginKeyIdNotUsed")
        .map(|alert| format!("      - {{ eval_time: 10m, alertname: {alert} }}\n"))
        .collect();
    let test = format!(
        "rule_files: [{}]\nevaluation_interval: 30s\ntests:\n  - interval: 30s\n    input_series:\n{input}    alert_rule_test:\n{silent}",
        dir().join("alerts.yaml").display()
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), test).unwrap();
    promtool(&["test", "rules", file.path().to_str().unwrap()]);
}

fn every_queried_metric_exists() {
    let files = std::fs::read_dir(dir()).unwrap();
    for file in files {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for name in metrics_in(&text) {
            let is_listed = METRICS.contains(&format!("| `{name}` |"));
            assert!(
                is_listed,
                "{}: no metric is called {PREFIX}{name}",
                path.display()
            );
        }
    }
}

tests! {
    plain each_alert_fires_when_it_should_and_not_before [Promtool];
    plain promtool_accepts_the_queries_of_the_dashboard [Promtool];
    plain each_alert_has_its_paragraph_and_its_test;
    single the_tests_of_the_alerts_begin_with_what_a_fresh_daemon_exposes [Vault, Promtool];
    plain every_queried_metric_exists;
}
