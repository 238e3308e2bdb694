//! The families of the counters: their names, help texts, labels and buckets.

use std::hash::Hash;
use std::sync::Mutex;
use std::time::{Instant, SystemTime};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::exposition::PREFIX;
use super::labels::{
    ActorLabel, CallLabels, ClassLabel, LoginFailure, OperationLabel, OutcomeLabel, Reloaded,
    RequestLabels,
};
use super::process;
use super::recent::Recent;
use super::replaced::CurrentReplaced;

/// In seconds. kube-apiserver gives up after 3.
const DURATIONS: [f64; 10] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0, 3.0, 5.0];
/// Items in a request to Vault; 128 is the most.
const SIZES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
/// Every counter of the process.
pub(super) struct MetricFamilies {
    pub(super) calls: Family<CallLabels, Counter>,
    pub(super) calls_failed: Family<OperationLabel, Counter>,
    pub(super) unreadable: Counter,
    pub(super) call_duration: Family<OperationLabel, Histogram, fn() -> Histogram>,
    pub(super) waiting: Gauge,
    pub(super) recent: Mutex<Recent>,
    pub(super) requests: Family<RequestLabels, Counter>,
    pub(super) request_duration: Family<OperationLabel, Histogram, fn() -> Histogram>,
    pub(super) batch_size: Family<OperationLabel, Histogram, fn() -> Histogram>,
    pub(super) login_failures: Family<ClassLabel, Counter>,
    pub(super) restarts: Family<ActorLabel, Counter>,
    pub(super) reloads: Family<OutcomeLabel, Counter>,
    pub(super) peers_refused: Counter,
    pub(super) connections_refused: Counter,
    pub(super) connections_evicted: Counter,
    pub(super) seed_cache_hits: Counter,
    pub(super) local_kek_encrypts: Counter,
    pub(super) replaced: CurrentReplaced,
    pub(super) started: Instant,
    pub(super) began: SystemTime,
}

impl Default for MetricFamilies {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            calls_failed: initialised(
                ["encrypt", "decrypt"].map(|operation| OperationLabel { operation }),
            ),
            unreadable: Counter::default(),
            call_duration: Family::new_with_constructor(durations),
            waiting: Gauge::default(),
            recent: Mutex::default(),
            requests: Family::default(),
            request_duration: Family::new_with_constructor(durations),
            batch_size: Family::new_with_constructor(sizes),
            login_failures: initialised(
                LoginFailure::ALL.map(|it| ClassLabel { class: it.as_str() }),
            ),
            restarts: Family::default(),
            reloads: initialised(Reloaded::ALL.map(|it| OutcomeLabel {
                outcome: it.as_str(),
            })),
            peers_refused: Counter::default(),
            connections_refused: Counter::default(),
            connections_evicted: Counter::default(),
            seed_cache_hits: Counter::default(),
            local_kek_encrypts: Counter::default(),
            replaced: CurrentReplaced::default(),
            started: Instant::now(),
            began: SystemTime::now(),
        }
    }
}

impl MetricFamilies {
    /// Counts the end of a call for the alerts, whose series exist from the start: those of `calls` begin
    /// with their first call, which no rate sees.
    pub(super) fn count_failed(&self, operation: &'static str, code: &str) {
        match (operation, code) {
            (_, "OK" | "CANCELLED") => {}
            ("decrypt", "INVALID_ARGUMENT") => {
                self.unreadable.inc();
            }
            ("encrypt" | "decrypt", code) if code != "INVALID_ARGUMENT" => {
                let labels = OperationLabel { operation };
                self.calls_failed.get_or_create(&labels).inc();
            }
            _ => {}
        }
    }

    /// A registry of all.
    pub(super) fn registry(&self) -> Registry {
        let mut root = Registry::default();
        let registry = root.sub_registry_with_prefix(PREFIX);
        registry.register(
            "calls",
            "gRPC calls by what they asked for, the KMS version and the gRPC code",
            self.calls.clone(),
        );
        registry.register(
            "calls_failed",
            "Encrypts and Decrypts that failed for a reason of the plugin's or of Vault's",
            self.calls_failed.clone(),
        );
        registry.register(
            "ciphertexts_unreadable",
            "Decrypts of what no configured key made, or is damaged",
            self.unreadable.clone(),
        );
        registry.register_with_unit(
            "call_duration",
            "From the first header of a gRPC call to its answer",
            Unit::Seconds,
            self.call_duration.clone(),
        );
        registry.register(
            "calls_waiting",
            "Encrypts and Decrypts that wait for Vault now",
            self.waiting.clone(),
        );
        registry.register(
            "vault_requests",
            "Requests to Vault by what they asked for and how they ended",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "vault_request_duration",
            "How long Vault takes for a request of Transit",
            Unit::Seconds,
            self.request_duration.clone(),
        );
        registry.register(
            "batch_size",
            "Items in a request of Transit",
            self.batch_size.clone(),
        );
        registry.register(
            "login_failures",
            "Tries to log in to Vault that failed, by the class of the reason",
            self.login_failures.clone(),
        );
        registry.register(
            "actor_restarts",
            "Failures of an actor, each of which was followed by a restart",
            self.restarts.clone(),
        );
        registry.register(
            "reloads",
            "Configurations that were read again at SIGHUP",
            self.reloads.clone(),
        );
        registry.register(
            "seed_cache_hits",
            "Decrypts that were answered from the seed cache because Vault failed",
            self.seed_cache_hits.clone(),
        );
        registry.register(
            "local_kek_encrypts",
            "Encrypts that were sealed under the local KEK because Vault failed",
            self.local_kek_encrypts.clone(),
        );
        registry.register(
            "peers_refused",
            "Connections of users and groups that socket.allow_uids and allow_gids do not list",
            self.peers_refused.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections for which there was no place",
            self.connections_refused.clone(),
        );
        registry.register(
            "connections_evicted",
            "Connections that lost their place to those of somebody who has fewer",
            self.connections_evicted.clone(),
        );
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What runs", build);
        process::register(&mut root, self.began);
        root
    }
}

fn durations() -> Histogram {
    Histogram::new(DURATIONS)
}

fn sizes() -> Histogram {
    Histogram::new(SIZES)
}

/// Creates the series at zero: an alert on an increase needs to see the zero.
fn initialised<L: Clone + Eq + Hash>(labels: impl IntoIterator<Item = L>) -> Family<L, Counter> {
    let counts = Family::default();
    for labels in labels {
        drop(counts.get_or_create(&labels));
    }
    counts
}
