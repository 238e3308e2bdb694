//! HashiCorp's vault-kube-kms: the gRPC metrics of `otelgrpc`, and those of the client of the Vault Secrets
//! Operator (`vault/client_metrics.go` there). Its source is not published.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::observed::VaultRequest;
use crate::telemetry::metrics::labels::CallKind;

/// The default boundaries of OpenTelemetry's histograms, here in milliseconds.
const RPC_BUCKETS: [f64; 15] = [
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0,
    10000.0,
];
/// Those of the operator, in seconds.
const OPERATION_BUCKETS: [f64; 33] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0,
];
/// All gRPC codes, each at its number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
/// The one connection there is. Its address is for those who may read the configuration.
const CONNECTION: &str = "vault";
const V2: &str = "v2.KeyManagementService";
const V1: &str = "v1beta1.KeyManagementService";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    rpc_service: &'static str,
    rpc_method: &'static str,
    rpc_grpc_status_code: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
    vault_connection: &'static str,
}

/// Its counters.
pub(super) struct VaultKubeKms {
    calls: Family<RpcLabels, Histogram, fn() -> Histogram>,
    operations: Family<OperationLabels, Counter>,
    errors: Family<OperationLabels, Counter>,
    times: Family<OperationLabels, Histogram, fn() -> Histogram>,
}

fn rpc_buckets() -> Histogram {
    Histogram::new(RPC_BUCKETS)
}

fn operation_buckets() -> Histogram {
    Histogram::new(OPERATION_BUCKETS)
}

fn labels(operation: &'static str) -> OperationLabels {
    OperationLabels {
        operation,
        vault_connection: CONNECTION,
    }
}

impl VaultKubeKms {
    /// With a series for each operation and for each successful call of v2.
    pub(super) fn new() -> Self {
        let all = Self {
            calls: Family::new_with_constructor(rpc_buckets),
            operations: Family::default(),
            errors: Family::default(),
            times: Family::new_with_constructor(operation_buckets),
        };
        for rpc_method in ["Status", "Encrypt", "Decrypt"] {
            drop(all.calls.get_or_create(&RpcLabels {
                rpc_service: V2,
                rpc_method,
                rpc_grpc_status_code: 0,
            }));
        }
        for labels in ["read", "write", "login", "renew"].map(labels) {
            drop(all.operations.get_or_create(&labels));
            drop(all.errors.get_or_create(&labels));
            drop(all.times.get_or_create(&labels));
        }
        all
    }

    pub(super) fn call(&self, call: CallKind, code: &str, took: Duration) {
        let rpc_method = match call.operation {
            "encrypt" => "Encrypt",
            "decrypt" => "Decrypt",
            "status" => "Status",
            "version" => "Version",
            _ => return,
        };
        let code = CODES.iter().position(|one| *one == code);
        let calls = self.calls.get_or_create(&RpcLabels {
            rpc_service: if call.kms_version == "v1" { V1 } else { V2 },
            rpc_method,
            // Every code is in the list; 2 is UNKNOWN.
            rpc_grpc_status_code: code.and_then(|code| u32::try_from(code).ok()).unwrap_or(2),
        });
        calls.observe(took.as_secs_f64() * 1000.0);
    }

    pub(super) fn request(&self, request: VaultRequest<'_>) {
        let labels = labels(match (request.operation, request.method) {
            ("login", _) => "login",
            ("renew", _) => "renew",
            (_, "GET") => "read",
            _ => "write",
        });
        self.operations.get_or_create(&labels).inc();
        if !request
            .status
            .is_some_and(|status| (200..300).contains(&status))
        {
            self.errors.get_or_create(&labels).inc();
        }
        let times = self.times.get_or_create(&labels);
        times.observe(request.took.as_secs_f64());
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "rpc_server_duration_milliseconds",
            "Measures the duration of inbound RPC",
            self.calls.clone(),
        );
        registry.register(
            "vso_client_operations",
            "Vault client operations",
            self.operations.clone(),
        );
        registry.register(
            "vso_client_operations_errors",
            "Vault client operations that failed",
            self.errors.clone(),
        );
        registry.register(
            "vso_client_operations_time_seconds",
            "Length of time per Vault client operation",
            self.times.clone(),
        );
    }
}
