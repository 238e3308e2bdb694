//! What the admin server shows the state of, and where it listens.

use std::sync::Arc;

use tokio::sync::watch;

use super::address::Address;
use crate::grpc::Connections;
use crate::keys::{HealthLimits, KeyView};
use crate::session::SessionView;
use crate::telemetry::ReloadStatus;
use crate::telemetry::metrics::Metrics;
use crate::vault::Client;

/// The actor's arguments, the same at every restart.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// Where to listen.
    pub listen: Address,
    /// The Status policy's limits.
    pub limits: HealthLimits,
    /// The state of the session.
    pub sessions: watch::Receiver<SessionView>,
    /// What is known about the key.
    pub keys: watch::Receiver<KeyView>,
    /// The open connections.
    pub connections: Connections,
    /// The client of Vault.
    pub client: Arc<Client>,
    /// The counters.
    pub metrics: Metrics,
    /// How the session logs in: `auth.method`.
    pub method: &'static str,
    /// The last reload, if there was one.
    pub last_reload: watch::Receiver<Option<ReloadStatus>>,
}
