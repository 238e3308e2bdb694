//! vault-kubernetes-kms (`pkg/metrics/metrics.go`, `pkg/http/http.go`).

use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::observed::{AtScrape, VaultRequest};
use crate::telemetry::metrics::labels::CallKind;
use crate::telemetry::metrics::process;

const PREFIX: &str = "vault_kubernetes_kms";
/// The default buckets of Go's client library (`prometheus.DefBuckets`).
const BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    path: String,
    status: String,
}

/// Its counters.
pub(super) struct VaultKubernetesKms {
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
    encrypts: Operation,
    decrypts: Operation,
    renewals: Counter,
}

struct Operation {
    duration: Histogram,
    errors: Counter,
}

impl Default for VaultKubernetesKms {
    fn default() -> Self {
        Self {
            requests: Family::new_with_constructor(buckets),
            encrypts: Operation::default(),
            decrypts: Operation::default(),
            renewals: Counter::default(),
        }
    }
}

impl Default for Operation {
    fn default() -> Self {
        Self {
            duration: buckets(),
            errors: Counter::default(),
        }
    }
}

fn buckets() -> Histogram {
    Histogram::new(BUCKETS)
}

/// As Go's client names it, whose every write is a PUT.
fn method(method: &str) -> &'static str {
    match method {
        "GET" => "GET",
        _ => "PUT",
    }
}

impl VaultKubernetesKms {
    /// Creates the series of successful writes to these paths.
    pub(super) fn initialise(&self, paths: &[String]) {
        for path in paths {
            drop(self.requests.get_or_create(&RequestLabels {
                method: "PUT",
                path: format!("/v1/{path}"),
                status: "200".to_owned(),
            }));
        }
    }

    pub(super) fn call(&self, call: CallKind, code: &str, took: Duration) {
        let operation = match call.operation {
            "encrypt" => &self.encrypts,
            "decrypt" => &self.decrypts,
            _ => return,
        };
        operation.duration.observe(took.as_secs_f64());
        if code != "OK" {
            operation.errors.inc();
        }
    }

    pub(super) fn request(&self, request: VaultRequest<'_>) {
        let status = request.status;
        let labels = RequestLabels {
            method: method(request.method),
            path: format!("/v1/{}", request.path),
            status: status.map_or_else(|| "error".to_owned(), |status| status.to_string()),
        };
        let requests = self.requests.get_or_create(&labels);
        requests.observe(request.took.as_secs_f64());
        if request.operation == "renew" {
            self.renewals.inc();
        }
    }

    pub(super) fn register(&self, root: &mut Registry, now: AtScrape, start: SystemTime) {
        let registry = root.sub_registry_with_prefix(PREFIX);
        registry.register(
            "vault_requests_duration_seconds",
            "duration of vault requests in seconds",
            self.requests.clone(),
        );
        for (name, operation) in [
            ("encryption", &self.encrypts),
            ("decryption", &self.decrypts),
        ] {
            registry.register(
                format!("{name}_operation_duration_seconds"),
                format!("duration of {name} operations"),
                operation.duration.clone(),
            );
            registry.register(
                format!("{name}_operation_errors"),
                format!("total number of errors during {name} operations"),
                operation.errors.clone(),
            );
        }
        registry.register(
            "token_renewals",
            "total number of token renewals",
            self.renewals.clone(),
        );
        registry.register(
            "token_expiry_seconds",
            "time remaining until the current token expires",
            ConstGauge::new(now.token_left.as_secs_f64()),
        );
        process::register(registry, start);
        process::register_rest(registry);
    }
}
