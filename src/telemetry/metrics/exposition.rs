//! The names of the metrics, and their text formats.

use std::fmt;

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::{Metrics, process};

/// The prefix of the plugin's own metrics.
const PREFIX: &str = "vault_kms_plugin";
/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus's own text format, 0.0.4.
    Prometheus,
}

impl Metrics {
    /// All counters. The caller adds the gauges with [`plugin_registry`].
    #[must_use]
    pub fn registry(&self) -> Registry {
        let mut root = Registry::default();
        let registry = root.sub_registry_with_prefix(PREFIX);
        let families = &*self.0;
        registry.register(
            "calls",
            "gRPC calls by what they asked for, the KMS version and the gRPC code",
            families.calls.clone(),
        );
        registry.register_with_unit(
            "call_duration",
            "From the first header of a gRPC call to its answer",
            Unit::Seconds,
            families.call_duration.clone(),
        );
        registry.register(
            "calls_waiting",
            "Encrypts and Decrypts that wait for Vault now",
            families.waiting.clone(),
        );
        registry.register(
            "vault_requests",
            "Requests to Vault by what they asked for and how they ended",
            families.requests.clone(),
        );
        registry.register_with_unit(
            "vault_request_duration",
            "How long Vault takes for a request of Transit",
            Unit::Seconds,
            families.request_duration.clone(),
        );
        registry.register(
            "batch_size",
            "Items in a request of Transit",
            families.batch_size.clone(),
        );
        registry.register(
            "login_failures",
            "Tries to log in to Vault that failed, by the class of the reason",
            families.login_failures.clone(),
        );
        registry.register(
            "actor_restarts",
            "Failures of an actor, each of which was followed by a restart",
            families.restarts.clone(),
        );
        registry.register(
            "reloads",
            "Configurations that were read again at SIGHUP",
            families.reloads.clone(),
        );
        registry.register(
            "peers_refused",
            "Connections of users and groups that socket.allow_uids and allow_gids do not list",
            families.peers_refused.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections for which there was no place",
            families.connections_refused.clone(),
        );
        registry.register(
            "connections_evicted",
            "Connections that lost their place to those of somebody who has fewer",
            families.connections_evicted.clone(),
        );
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What runs", build);
        process::register(&mut root, families.began);
        root
    }
}

/// The part of a registry of [`Metrics::registry`] that has the plugin's prefix.
pub fn plugin_registry(registry: &mut Registry) -> &mut Registry {
    registry.sub_registry_with_prefix(PREFIX)
}

impl Exposition {
    /// The content type of an HTTP answer.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }

    /// Writes what is registered.
    ///
    /// # Errors
    /// None: writing to a `String` cannot fail.
    pub fn write(self, registry: &Registry) -> Result<String, fmt::Error> {
        let mut text = String::new();
        match self {
            Self::OpenMetrics => text::encode(&mut text, registry)?,
            Self::Prometheus => prometheus_text::encode(&mut text, registry)?,
        }
        Ok(text)
    }
}
