//! The metrics of replaced plugins: their names and labels, from zero, and what is counted.

use std::collections::BTreeSet;

use prometheus_parse::{Scrape, Value};

use super::get;
use crate::harness::child::free_port;
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::scrape::Metrics;
use crate::harness::vault::{Fixture, Vault};
use crate::harness::wait;
use crate::reload::own_address;
use crate::{LIMIT, daemon_for};

const SEED: [u8; 32] = [9; 32];

async fn daemon_with(plugin: &str, listen: &str) -> (Fixture, Daemon) {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let toml = format!("[drop_in]\nplugin = \"{plugin}\"\nmetrics_listen = \"{listen}\"");
    let builder = daemon_for(&vault.address(), &fixture).extra(&toml);
    (fixture, builder.spawn().await)
}

async fn scraped(address: &str) -> String {
    let scraped = wait::until("the metrics", LIMIT, async || {
        get(address, "/metrics").await
    })
    .await;
    assert_eq!(scraped.0, 200, "{}", scraped.1);
    scraped.1
}

/// The names of all samples.
fn names(text: &str) -> BTreeSet<String> {
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    scrape.samples.into_iter().map(|it| it.metric).collect()
}

/// The value of the line that begins with this.
fn value(text: &str, series: &str) -> Option<f64> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

async fn vault_kubernetes_kms_counts_under_its_names_from_zero() {
    let address = format!("127.0.0.1:{}", free_port());
    let (fixture, daemon) = daemon_with("vault-kubernetes-kms", &address).await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let before = scraped(&address).await;
    for zero in [
        "encryption_operation_duration_seconds_count",
        "decryption_operation_duration_seconds_count",
        "encryption_operation_errors_total",
        "decryption_operation_errors_total",
        "token_renewals_total",
    ] {
        let series = format!("vault_kubernetes_kms_{zero}");
        assert_eq!(value(&before, &series), Some(0.0), "{series}: {before}");
    }
    let expiry = value(&before, "vault_kubernetes_kms_token_expiry_seconds").unwrap();
    assert!((1.0..=3600.0).contains(&expiry), "{expiry}");
    let requests = |operation: &str, status: &str| {
        let Fixture { mount, key, .. } = &fixture;
        format!(
            "vault_kubernetes_kms_vault_requests_duration_seconds_count{{method=\"PUT\",\
             path=\"/v1/{mount}/{operation}/{key}\",status=\"{status}\"}}"
        )
    };
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    client.decrypt(&ciphertext, &key_id).await.unwrap();
    client.encrypt_v1(&SEED).await.unwrap();
    client.decrypt(b"vault:v1:AAAA", &key_id).await.unwrap_err();
    let after = scraped(&address).await;
    for (series, grown) in [
        (
            "vault_kubernetes_kms_encryption_operation_duration_seconds_count",
            2.0,
        ),
        (
            "vault_kubernetes_kms_decryption_operation_duration_seconds_count",
            2.0,
        ),
        (
            "vault_kubernetes_kms_encryption_operation_errors_total",
            0.0,
        ),
        (
            "vault_kubernetes_kms_decryption_operation_errors_total",
            1.0,
        ),
        (&requests("encrypt", "200"), 2.0),
        (&requests("decrypt", "200"), 1.0),
        (&requests("decrypt", "400"), 1.0),
    ] {
        let before = value(&before, series).unwrap_or_default();
        let after = value(&after, series).unwrap_or_default();
        assert_eq!(after - before, grown, "{series}");
    }
    let reading = "vault_kubernetes_kms_vault_requests_duration_seconds_count{method=\"GET\"";
    assert!(after.contains(reading), "{after}");
    let names = names(&after);
    for name in [
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "process_virtual_memory_bytes",
        "process_virtual_memory_max_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_network_receive_bytes_total",
        "process_network_transmit_bytes_total",
    ] {
        assert!(
            names.contains(&format!("vault_kubernetes_kms_{name}")),
            "{name}"
        );
    }
    // The buckets of Go's client, which dashboards compute quantiles of.
    let scrape = Scrape::parse(after.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let mut samples = scrape.samples.iter();
    let histogram = samples
        .find(|it| it.metric == "vault_kubernetes_kms_encryption_operation_duration_seconds")
        .unwrap();
    let Value::Histogram(counts) = &histogram.value else {
        panic!("{histogram:?}");
    };
    let bounds: Vec<_> = counts.iter().map(|count| count.less_than).collect();
    assert_eq!(bounds[..3], [0.005, 0.01, 0.025]);
    assert_eq!(bounds.len(), 12);
}

async fn vault_kube_kms_counts_under_its_names_from_zero() {
    let address = format!("127.0.0.1:{}", free_port());
    let (_fixture, daemon) = daemon_with("vault-kube-kms", &address).await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let rpc = |method: &str, code: u32| {
        format!(
            "rpc_server_duration_milliseconds_count{{rpc_service=\"v2.KeyManagementService\",\
             rpc_method=\"{method}\",rpc_grpc_status_code=\"{code}\"}}"
        )
    };
    let operation = |name: &str, operation: &str| {
        format!(
            "vso_client_operations_{name}{{operation=\"{operation}\",vault_connection=\"vault\"}}"
        )
    };
    let before = scraped(&address).await;
    for zero in [
        rpc("Encrypt", 0),
        rpc("Decrypt", 0),
        operation("errors_total", "login"),
        operation("errors_total", "write"),
        operation("time_seconds_count", "renew"),
    ] {
        assert_eq!(value(&before, &zero), Some(0.0), "{zero}: {before}");
    }
    client.encrypt(&SEED).await.unwrap();
    client.decrypt(b"vault:v1:AAAA", "x").await.unwrap_err();
    let after = scraped(&address).await;
    for (series, grown) in [
        (rpc("Encrypt", 0), 1.0),
        // INVALID_ARGUMENT.
        (rpc("Decrypt", 3), 1.0),
        (operation("total", "write"), 2.0),
        (operation("errors_total", "write"), 1.0),
        (operation("time_seconds_count", "write"), 2.0),
    ] {
        let before = value(&before, &series).unwrap_or_default();
        let after = value(&after, &series).unwrap_or_default();
        assert_eq!(after - before, grown, "{series}");
    }
}

async fn the_admin_address_has_both_and_other_hosts_see_only_what_the_replaced_plugin_showed() {
    let port = free_port();
    let (_fixture, daemon) = daemon_with("vault-kubernetes-kms", &format!("0.0.0.0:{port}")).await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    let own = |name: &String| name.starts_with("vault_kms_plugin_");
    let theirs = |name: &String| name.starts_with("vault_kubernetes_kms_");
    let here = names(&scraped(&format!("127.0.0.1:{port}")).await);
    assert!(here.iter().any(own) && here.iter().any(theirs), "{here:?}");
    assert_eq!(names(&Metrics::of(&daemon).await.text), here);
    if let Some(outside) = own_address() {
        let there = format!("{outside}:{port}");
        let seen = names(&scraped(&there).await);
        assert!(seen.iter().all(theirs), "{seen:?}");
        for path in ["/status", "/status.json", "/readyz", "/health"] {
            assert_eq!(get(&there, path).await.unwrap().0, 404, "{path}");
        }
    }
}

async fn without_a_replaced_plugin_there_is_none_of_its_names() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    let own = names(&Metrics::of(&daemon).await.text);
    let is_own =
        |name: &String| name.starts_with("vault_kms_plugin_") || name.starts_with("process_");
    assert!(own.iter().all(is_own), "{own:?}");
}

tests! {
    []
    single vault_kubernetes_kms_counts_under_its_names_from_zero [Vault];
    single vault_kube_kms_counts_under_its_names_from_zero [Vault];
    single the_admin_address_has_both_and_other_hosts_see_only_what_the_replaced_plugin_showed [Vault];
    single without_a_replaced_plugin_there_is_none_of_its_names [Vault];
}
