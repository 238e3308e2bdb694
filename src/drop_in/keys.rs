//! The keys of the table `[drop_in]`, by which the daemon serves the endpoints of the plugin that it replaces.

/// The name of the plugin.
pub(super) const PLUGIN: &str = "drop_in.plugin";
/// Where its health endpoints are.
pub(super) const HEALTH_LISTEN: &str = "drop_in.health_listen";
/// Where its metrics are.
pub(super) const METRICS_LISTEN: &str = "drop_in.metrics_listen";
