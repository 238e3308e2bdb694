//! How things stand now, for `/metrics`: read from the views at each scrape, so that no gauge is
//! ever left behind by what it tells of.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeGaugeValue;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::readiness::Readiness;
use super::{Arguments, key_id_hash};
use crate::keys::ProvenKey;
use crate::metrics;

/// Adds them to what is counted.
pub(super) fn register(whole: &mut Registry, args: &Arguments) {
    let registry = metrics::ours(whole);
    let connections = args.connections.count();
    gauge(
        registry,
        "connections",
        "Connections of kube-apiserver and others",
        connections,
    );
    let ready = Readiness::of(args).is_ready();
    let help = "Whether kube-apiserver is told that all is well: 1 or 0";
    gauge(registry, "ready", help, u64::from(ready));
    of_session(registry, args);
    of_key(registry, args);
    metrics::register_process(whole);
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
    if let Some(end) = session.and_then(|session| session.expires) {
        let help =
            "When the session ends unless it is renewed, since 1970; absent where it never does";
        time(registry, "session_end", help, timestamp(end));
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
    if let Some(ProvenKey { key_id, moment }) = view.pinned() {
        let labels = [("key_id_hash", key_id_hash(&key_id.to_string()))];
        let help = "The key_id that Encrypts use, as kube-apiserver's metrics show it";
        registry.register("key", help, Info::new(labels));
        let help = "The version of the key that Encrypts use";
        gauge(registry, "key_version", help, moment.version.get());
        let help = "When that version was made, since 1970";
        time(registry, "key_created", help, moment.created as f64);
    }
    if let Some(success) = view.last_success {
        let help = "When Vault last did what was asked of it, since 1970";
        time(registry, "last_success", help, timestamp(success));
    }
    let failing = view.fault.as_ref();
    let help = "Whether the last look at the key failed: 1 or 0";
    gauge(registry, "key_failing", help, u64::from(failing.is_some()));
    let verdict = failing.is_some_and(|fault| fault.verdict);
    let help = "Whether only an operator can mend what is wrong with the key: 1 or 0";
    gauge(registry, "key_verdict", help, u64::from(verdict));
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

/// Of a moment on this machine's steady clock, by its clock on the wall.
fn timestamp(moment: Instant) -> f64 {
    let (now, wall) = (Instant::now(), SystemTime::now());
    let when = match moment.checked_duration_since(now) {
        Some(ahead) => wall + ahead,
        None => wall - now.saturating_duration_since(moment),
    };
    when.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs_f64()
}
