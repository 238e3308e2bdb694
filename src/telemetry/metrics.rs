//! The counters for Prometheus. Every module counts here; this one depends on none of them.
//!
//! Labels have few values, all from fixed sets: nothing that a client or Vault sends becomes one.

mod exposition;
mod families;
mod labels;
mod process;
mod recent;
mod replaced;

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;

use crate::replaced_plugin::ReplacedPlugin;

pub use exposition::{Exposition, plugin_registry};
use families::MetricFamilies;
use labels::{ActorLabel, CallLabels, ClassLabel, OperationLabel, OutcomeLabel, RequestLabels};
pub use labels::{CallKind, LoginFailure, Reloaded};
pub use recent::{Recent, RecentCalls};
pub use replaced::{AtScrape, ReplacedMetrics, VaultRequest};

/// The code of a call that its client cancelled.
const CANCELLED: &str = "CANCELLED";

/// All counters of the process. A clone is another handle on the same.
#[derive(Clone, Default)]
pub struct Metrics(Arc<MetricFamilies>);

/// A gRPC call in progress. If it is dropped before its end, it was cancelled.
#[derive(Debug)]
pub struct CallTimer {
    metrics: Metrics,
    call: CallKind,
    began: Instant,
    ended: bool,
}

/// A call that waits for Vault, until this is dropped.
#[derive(Debug)]
pub struct Waiting(Metrics);

impl Metrics {
    /// Records the start of a gRPC call.
    #[must_use]
    pub fn call(&self, call: CallKind) -> CallTimer {
        CallTimer {
            metrics: self.clone(),
            call,
            began: Instant::now(),
            ended: false,
        }
    }

    /// Counts a waiting call until the guard is dropped.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        self.0.waiting.inc();
        Waiting(self.clone())
    }

    /// Records the end of a request to Vault. Both labels are from fixed sets.
    pub fn request(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        let labels = RequestLabels { operation, outcome };
        self.0.requests.get_or_create(&labels).inc();
        // The durations of other requests are not of interest.
        if matches!(operation, "encrypt" | "decrypt") {
            let of = OperationLabel { operation };
            let durations = self.0.request_duration.get_or_create(&of);
            durations.observe(took.as_secs_f64());
        }
    }

    /// Records the items of a request.
    pub fn batch(&self, operation: &'static str, size: usize) {
        let sizes = self
            .0
            .batch_size
            .get_or_create(&OperationLabel { operation });
        // At most 128.
        sizes.observe(f64::from(u32::try_from(size).unwrap_or(u32::MAX)));
    }

    /// Records a failed login.
    pub fn login_failed(&self, why: LoginFailure) {
        let class = why.as_str();
        self.0
            .login_failures
            .get_or_create(&ClassLabel { class })
            .inc();
    }

    /// Creates the series of an actor.
    pub fn actor(&self, actor: &'static str) {
        drop(self.0.restarts.get_or_create(&ActorLabel { actor }));
    }

    /// Records the failure of an actor, which is then restarted.
    pub fn restarted(&self, actor: &'static str) {
        self.0.restarts.get_or_create(&ActorLabel { actor }).inc();
    }

    /// Records the end of a reload.
    pub fn reloaded(&self, outcome: Reloaded) {
        let outcome = outcome.as_str();
        self.0
            .reloads
            .get_or_create(&OutcomeLabel { outcome })
            .inc();
    }

    /// Records a Decrypt that the seed cache answered.
    pub fn seed_cache_hit(&self) {
        self.0.seed_cache_hits.inc();
    }

    /// Records an Encrypt that the local KEK sealed.
    pub fn local_kek_encrypt(&self) {
        self.0.local_kek_encrypts.inc();
    }

    /// Records a rejected peer.
    pub fn peer_refused(&self) {
        self.0.peers_refused.inc();
    }

    /// Records a connection that was closed at the limit.
    pub fn connection_refused(&self) {
        self.0.connections_refused.inc();
    }

    /// Records a connection that was closed for another one.
    pub fn connection_evicted(&self) {
        self.0.connections_evicted.inc();
    }

    /// The calls that wait for Vault now.
    #[must_use]
    pub fn calls_waiting(&self) -> u64 {
        u64::try_from(self.0.waiting.get()).unwrap_or_default()
    }

    /// The calls of the last minutes.
    #[must_use]
    pub fn recent(&self) -> RecentCalls {
        self.lock_recent().minutes(self.0.started.elapsed())
    }

    /// How long the process runs.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Counts for the plugin in whose place this one runs, too, under its names. `paths`: those of the writing
    /// key, below `/v1/`.
    pub fn stand_in_for(&self, plugin: Option<ReplacedPlugin>, paths: &[String]) {
        self.0.replaced.set(plugin, paths);
    }

    /// The metrics of the plugin in whose place this one runs, if it has any.
    #[must_use]
    pub fn replaced(&self) -> Option<Arc<ReplacedMetrics>> {
        self.0.replaced.get()
    }

    /// Adds them to a registry.
    pub fn register_replaced(&self, registry: &mut Registry, now: AtScrape) {
        if let Some(replaced) = self.replaced() {
            replaced.register(registry, now, self.0.began);
        }
    }

    /// A registry of all counters. The caller adds the gauges with [`plugin_registry`].
    #[must_use]
    pub fn registry(&self) -> Registry {
        self.0.registry()
    }

    fn lock_recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.0.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The operation of a call that is none of KMS.
pub const OTHER: &str = "other";

impl CallTimer {
    /// Records the answer with this gRPC code, in capitals.
    pub fn end(mut self, code: &'static str) {
        self.ended = true;
        self.count(code);
    }

    fn count(&self, code: &'static str) {
        let CallKind {
            operation,
            kms_version,
        } = self.call;
        let families = &*self.metrics.0;
        let labels = CallLabels {
            operation,
            kms_version,
            code,
        };
        families.calls.get_or_create(&labels).inc();
        families.count_failed(operation, code);
        if let Some(replaced) = families.replaced.get() {
            replaced.call(self.call, code, self.began.elapsed());
        }
        // The others answer from memory.
        if matches!(operation, "encrypt" | "decrypt" | "status") {
            let durations = families
                .call_duration
                .get_or_create(&OperationLabel { operation });
            durations.observe(self.began.elapsed().as_secs_f64());
        }
        // What is no call of KMS is a probe, or a stranger's.
        if operation != OTHER {
            let now = families.started.elapsed();
            self.metrics.lock_recent().record(now, code == "OK");
        }
    }
}

impl Drop for CallTimer {
    fn drop(&mut self) {
        if !self.ended {
            self.count(CANCELLED);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.waiting.dec();
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENCRYPT: CallKind = CallKind {
        operation: "encrypt",
        kms_version: "v2",
    };

    fn written(metrics: &Metrics, exposition: Exposition) -> String {
        exposition.write(&metrics.registry()).expect("a text")
    }

    #[test]
    fn a_call_is_counted_by_what_it_was_and_how_it_ended() {
        let metrics = Metrics::default();
        metrics.call(ENCRYPT).end("OK");
        drop(metrics.call(ENCRYPT));
        let text = written(&metrics, Exposition::Prometheus);
        for code in ["OK", "CANCELLED"] {
            let line = format!(
                "vault_kms_plugin_calls_total{{operation=\"encrypt\",kms_version=\"v2\",code=\"{code}\"}} 1"
            );
            assert!(text.contains(&line), "{text}");
        }
        assert_eq!(
            metrics.recent(),
            RecentCalls {
                calls: 2,
                failed: 1
            }
        );
    }

    #[test]
    fn waiting_calls_are_counted_until_they_end() {
        let metrics = Metrics::default();
        let waiting = metrics.waiting();
        let text = written(&metrics, Exposition::Prometheus);
        assert!(
            text.contains("vault_kms_plugin_calls_waiting 1\n"),
            "{text}"
        );
        drop(waiting);
        let text = written(&metrics, Exposition::OpenMetrics);
        assert!(
            text.contains("vault_kms_plugin_calls_waiting 0\n"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
