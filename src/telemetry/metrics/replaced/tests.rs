//! Names, labels and counts of the replaced plugins' metrics.

use super::*;
use crate::telemetry::metrics::exposition::Exposition;

const ENCRYPT: CallKind = CallKind {
    operation: "encrypt",
    kms_version: "v2",
};
const WRITE: VaultRequest<'_> = VaultRequest {
    operation: "encrypt",
    method: "POST",
    path: "transit/encrypt/kms",
    status: Some(200),
    took: Duration::from_millis(7),
};

fn of(plugin: ReplacedPlugin) -> CurrentReplaced {
    let current = CurrentReplaced::default();
    current.set(Some(plugin), &["transit/encrypt/kms".to_owned()]);
    current
}

fn lines(replaced: &ReplacedMetrics) -> Vec<String> {
    let mut registry = Registry::default();
    let token_left = Duration::from_secs(90);
    replaced.register(&mut registry, AtScrape { token_left }, SystemTime::now());
    let text = Exposition::Prometheus.write(&registry).expect("a text");
    text.lines().map(str::to_owned).collect()
}

fn assert_lines(replaced: &ReplacedMetrics, expected: &[&str]) {
    let lines = lines(replaced);
    for line in expected {
        assert!(lines.iter().any(|it| it == line), "{line}: {lines:#?}");
    }
}

#[test]
fn vault_kubernetes_kms_has_its_names_from_zero_and_counts() {
    let current = of(ReplacedPlugin::VaultKubernetesKms);
    let replaced = current.get().expect("metrics");
    let requests = "vault_kubernetes_kms_vault_requests_duration_seconds";
    let written = "{method=\"PUT\",path=\"/v1/transit/encrypt/kms\",status=\"200\"}";
    assert_lines(
        &replaced,
        &[
            &format!("{requests}_count{written} 0"),
            "vault_kubernetes_kms_encryption_operation_duration_seconds_count 0",
            "vault_kubernetes_kms_decryption_operation_duration_seconds_bucket{le=\"0.005\"} 0",
            "vault_kubernetes_kms_encryption_operation_errors_total 0",
            "vault_kubernetes_kms_decryption_operation_errors_total 0",
            "vault_kubernetes_kms_token_renewals_total 0",
            "vault_kubernetes_kms_token_expiry_seconds 90.0",
            "# TYPE vault_kubernetes_kms_process_cpu_seconds_total counter",
            "# TYPE vault_kubernetes_kms_process_resident_memory_bytes gauge",
            "# TYPE vault_kubernetes_kms_process_virtual_memory_max_bytes gauge",
            "# TYPE vault_kubernetes_kms_process_network_receive_bytes_total counter",
        ],
    );
    replaced.call(ENCRYPT, "OK", Duration::from_millis(3));
    replaced.call(ENCRYPT, "UNAVAILABLE", Duration::from_millis(3));
    replaced.request(WRITE);
    replaced.request(VaultRequest {
        operation: "renew",
        path: "auth/token/renew-self",
        status: None,
        ..WRITE
    });
    replaced.request(VaultRequest {
        operation: "health",
        method: "GET",
        path: "sys/health",
        ..WRITE
    });
    let failed = "{method=\"PUT\",path=\"/v1/auth/token/renew-self\",status=\"error\"}";
    assert_lines(
        &replaced,
        &[
            &format!("{requests}_count{written} 1"),
            &format!("{requests}_count{failed} 1"),
            "vault_kubernetes_kms_encryption_operation_duration_seconds_bucket{le=\"0.005\"} 2",
            "vault_kubernetes_kms_encryption_operation_errors_total 1",
            "vault_kubernetes_kms_decryption_operation_errors_total 0",
            "vault_kubernetes_kms_token_renewals_total 1",
        ],
    );
    assert!(
        !lines(&replaced)
            .iter()
            .any(|line| line.contains("sys/health"))
    );
}

#[test]
fn vault_kube_kms_has_its_names_from_zero_and_counts() {
    let current = of(ReplacedPlugin::VaultKubeKms);
    let replaced = current.get().expect("metrics");
    let encrypts = |code: u32| {
        format!(
            "rpc_server_duration_milliseconds_bucket{{rpc_service=\"v2.KeyManagementService\",\
             rpc_method=\"Encrypt\",rpc_grpc_status_code=\"{code}\",le=\"5\"}}"
        )
    };
    let operation = |name: &str, operation: &str| {
        format!(
            "vso_client_operations_{name}{{operation=\"{operation}\",vault_connection=\"vault\"}}"
        )
    };
    assert_lines(
        &replaced,
        &[
            &format!("{} 0", encrypts(0)),
            &format!("{} 0", operation("total", "write")),
            &format!("{} 0", operation("errors_total", "login")),
            &format!("{} 0", operation("time_seconds_count", "renew")),
        ],
    );
    replaced.call(ENCRYPT, "OK", Duration::from_millis(3));
    replaced.call(ENCRYPT, "UNAVAILABLE", Duration::from_millis(3));
    replaced.request(WRITE);
    replaced.request(VaultRequest {
        method: "GET",
        operation: "read_key",
        status: Some(403),
        ..WRITE
    });
    assert_lines(
        &replaced,
        &[
            &format!("{} 1", encrypts(0)),
            &format!("{} 1", encrypts(14)),
            &format!("{} 1", operation("total", "write")),
            &format!("{} 0", operation("errors_total", "write")),
            &format!("{} 1", operation("errors_total", "read")),
            &format!("{} 1", operation("time_seconds_count", "read")),
        ],
    );
}

#[test]
fn a_reload_keeps_the_counters_of_the_same_plugin_alone() {
    let current = of(ReplacedPlugin::VaultKubeKms);
    let before = current.get().expect("metrics");
    current.set(Some(ReplacedPlugin::VaultKubeKms), &[]);
    assert!(Arc::ptr_eq(&before, &current.get().expect("metrics")));
    for without in [
        None,
        Some(ReplacedPlugin::Kleidi),
        Some(ReplacedPlugin::VaultKmsProvider),
    ] {
        current.set(without, &[]);
        assert!(current.get().is_none());
    }
}
