//! What the admin server shows the state of, and where it listens.

use std::sync::Arc;

use ractor::ActorRef;
use tokio::sync::watch;

use super::address::Address;
use crate::grpc::{Connections, GrpcMsg};
use crate::keys::{HealthLimits, KeyView, SeedCache};
use crate::replaced_plugin::DropIn;
use crate::session::SessionView;
use crate::telemetry::ReloadStatus;
use crate::telemetry::metrics::Metrics;
use crate::vault::Client;

/// The actor's arguments, the same at every restart.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// Where to listen.
    pub listen: Address,
    /// The plugin in whose place this one runs, and where its endpoints are served.
    pub drop_in: Option<DropIn>,
    /// Whether the KMS socket is served: the actor that does it.
    pub grpc: watch::Receiver<Option<ActorRef<GrpcMsg>>>,
    /// The Status policy's limits.
    pub limits: HealthLimits,
    /// The state of the session.
    pub sessions: watch::Receiver<SessionView>,
    /// What is known about the key.
    pub keys: watch::Receiver<KeyView>,
    /// What answers while Vault is away.
    pub seed_cache: SeedCache,
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
