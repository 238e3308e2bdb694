//! The names of the metrics, and their text formats.

use std::fmt;

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

/// The prefix of the plugin's own metrics.
pub(super) const PREFIX: &str = "vault_kms_plugin";

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus's own text format, 0.0.4.
    Prometheus,
}

/// The part of a registry of all metrics that has the plugin's prefix.
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
