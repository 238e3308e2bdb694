//! The gauges of `/metrics`: read from the current state at each scrape, so that no gauge can be out of
//! date.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeGaugeValue, EncodeLabelSet};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::arguments::Arguments;
use super::readiness::Readiness;
use crate::keys::{Policy, ProvenKey, status_now};
use crate::reason::Reason;
use crate::session::Session;
use crate::telemetry::metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabel {
    of: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason_code: &'static str,
}

/// Adds them to the counters.
pub(super) fn register(root: &mut Registry, args: &Arguments) {
    let registry = metrics::plugin_registry(root);
    let connections = args.connections.count();
    gauge(
        registry,
        "connections",
        "Connections of kube-apiserver and others",
        connections,
    );
    let readiness = Readiness::of(args);
    of_status(registry, args, &readiness);
    of_conditions(registry, args, &readiness);
    of_reloads(registry, args);
    of_certificates(registry, args);
    of_session(registry, args);
    of_key(registry, args);
    of_seed_cache(registry, args);
}

fn of_status(registry: &mut Registry, args: &Arguments, readiness: &Readiness) {
    let help = "Whether Status returns ok: 1 or 0";
    gauge(registry, "ready", help, u64::from(readiness.is_ready()));
    let now = status_now(&args.keys.borrow(), &args.sessions.borrow(), args.limits);
    let failing = !matches!(now, Policy::Answer(_));
    let help = "Whether Status returns an error, which ends the writes of kube-apiserver: 1 or 0";
    gauge(registry, "status_failing", help, u64::from(failing));
    let limits = [
        (
            "status_tolerance",
            "health.tolerance",
            args.limits.tolerance,
        ),
        (
            "status_fail_after",
            "health.fail_after",
            args.limits.fail_after,
        ),
    ];
    for (name, help, limit) in limits {
        let limit = ConstGauge::new(limit.as_secs_f64());
        registry.register_with_unit(name, help, Unit::Seconds, limit);
    }
}

fn of_reloads(registry: &mut Registry, args: &Arguments) {
    let last = args.last_reload.borrow();
    let refused = last.as_ref().is_some_and(|it| it.refused.is_some());
    let help = "Whether the last reload was applied, or there was none: 1 or 0";
    gauge(
        registry,
        "last_reload_successful",
        help,
        u64::from(!refused),
    );
}

fn of_certificates(registry: &mut Registry, args: &Arguments) {
    let starts = Family::<CertificateLabel, Gauge<f64, AtomicU64>>::default();
    let ends = Family::<CertificateLabel, Gauge<f64, AtomicU64>>::default();
    for (of, lifetime) in args.client.certificates() {
        let label = CertificateLabel { of };
        starts.get_or_create(&label).set(lifetime.start as f64);
        ends.get_or_create(&label).set(lifetime.end as f64);
    }
    let help =
        "From when the certificate of Vault's server, or the plugin's own, is valid, since 1970";
    registry.register_with_unit("certificate_start_timestamp", help, Unit::Seconds, starts);
    let help =
        "Until when the certificate of Vault's server, or the plugin's own, is valid, since 1970";
    registry.register_with_unit("certificate_end_timestamp", help, Unit::Seconds, ends);
}

/// One series for each reason, so that an alert or a dashboard can show which one it is.
fn of_conditions(registry: &mut Registry, args: &Arguments, readiness: &Readiness) {
    let session = args.sessions.borrow().fault.as_ref().map(|it| it.reason);
    let key = args.keys.borrow().fault.as_ref().map(|it| it.error.reason);
    let now = [readiness.reason_code(), session, key];
    let conditions = Family::<ReasonLabel, Gauge<u64, AtomicU64>>::default();
    for &reason in Reason::ALL {
        let label = ReasonLabel {
            reason_code: reason.code(),
        };
        let is_present = now.contains(&Some(reason));
        conditions.get_or_create(&label).set(u64::from(is_present));
    }
    let help = "Whether the session, the key or Status fails for this reason now: 1 or 0";
    registry.register("condition", help, conditions);
}

fn of_session(registry: &mut Registry, args: &Arguments) {
    let view = args.sessions.borrow();
    let session = view.current.as_deref();
    let help = "Whether the plugin is logged in to Vault: 1 or 0";
    gauge(
        registry,
        "session_active",
        help,
        u64::from(session.is_some()),
    );
    if let Some(end) = session.and_then(Session::end) {
        let help =
            "When the session ends unless it is renewed, since 1970; absent where it never does";
        time(registry, "session_end", help, end.as_second() as f64);
    }
    let help = "Whether the last login failed: 1 or 0";
    gauge(
        registry,
        "session_failing",
        help,
        u64::from(view.fault.is_some()),
    );
}

fn of_key(registry: &mut Registry, args: &Arguments) {
    let view = args.keys.borrow();
    if let Some(ProvenKey { key_id, stamp }) = view.writing() {
        let labels = [("key_id_hash", key_id.hash())];
        let help = "The key_id that Encrypts use, as kube-apiserver's metrics show it";
        registry.register("key", help, Info::new(labels));
        let help = "The version of the key that Encrypts use";
        gauge(registry, "key_version", help, stamp.version.get());
        let help = "When that version was made, since 1970";
        time(registry, "key_created", help, stamp.created as f64);
    }
    if let Some(success) = view.last_success.and_then(|at| at.wall_time()) {
        let help = "When Vault last did what was asked of it, since 1970";
        time(registry, "last_success", help, success.as_second() as f64);
    }
    let failing = view.fault.as_ref();
    let help = "Whether the last look at the key failed: 1 or 0";
    gauge(registry, "key_failing", help, u64::from(failing.is_some()));
    let verdict = failing.is_some_and(|fault| fault.verdict);
    let help = "Whether only an operator can fix what is wrong with the key: 1 or 0";
    gauge(registry, "key_unusable", help, u64::from(verdict));
    let help =
        "Whether transit.accept_replaced is set, so that older data may be unreadable: 1 or 0";
    let accepted = u64::from(view.accepted_replacement.is_some());
    gauge(registry, "replaced_key_accepted", help, accepted);
}

fn of_seed_cache(registry: &mut Registry, args: &Arguments) {
    let report = args.seed_cache.report();
    let help = "Whether outage.seed_cache is on: 1 or 0";
    gauge(registry, "seed_cache_on", help, u64::from(report.is_some()));
    let entries = report.as_ref().map_or(0, |it| it.entries);
    let help = "How many seeds the seed cache holds";
    gauge(registry, "seed_cache_entries", help, entries as u64);
    let serving = report.as_ref().is_some_and(|it| it.serving);
    let help = "Whether Vault fails and the seed cache answers: 1 or 0";
    gauge(registry, "seed_cache_serving", help, u64::from(serving));
    let max_age = report.as_ref().map_or(Duration::ZERO, |it| it.max_age);
    let help = "How long the seed cache answers after Vault's last success: outage.max_age";
    let max_age = ConstGauge::new(max_age.as_secs_f64());
    registry.register_with_unit("seed_cache_max_age", help, Unit::Seconds, max_age);
    let ready = report.as_ref().and_then(|it| it.local_kek);
    let help = "Whether outage.local_kek is on: 1 or 0";
    gauge(registry, "local_kek_on", help, u64::from(ready.is_some()));
    let help = "Whether a local KEK is ready for an outage: 1 or 0";
    gauge(
        registry,
        "local_kek_ready",
        help,
        u64::from(ready == Some(true)),
    );
    let age = report.and_then(|it| it.age).unwrap_or_default();
    let help = "How long ago Vault last did something with a key of the seed cache, which answers up to outage.max_age";
    let age = ConstGauge::new(age.as_secs_f64());
    registry.register_with_unit("seed_cache_age", help, Unit::Seconds, age);
}

fn gauge<N>(registry: &mut Registry, name: &str, help: &str, value: N)
where
    N: EncodeGaugeValue + std::fmt::Debug + Send + Sync + 'static,
{
    registry.register(name, help, ConstGauge::new(value));
}

fn time(registry: &mut Registry, name: &str, help: &str, since_epoch: f64) {
    let name = format!("{name}_timestamp");
    registry.register_with_unit(name, help, Unit::Seconds, ConstGauge::new(since_epoch));
}
