//! deploy/monitoring: the alerts fire when they should, each has a paragraph of the runbook, and every
//! queried metric exists.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::harness::servers::{self, Server};

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

fn each_alert_has_its_paragraph_and_its_test() {
    let tests = std::fs::read_to_string(dir().join("alerts.test.yaml")).unwrap();
    let alerts = ALERTS
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let mut count = 0;
    for alert in alerts {
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
    plain every_queried_metric_exists;
}
