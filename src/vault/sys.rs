//! Whether a server can serve: `sys/health` and `sys/leader`.

use serde::Deserialize;
use tokio::time::Instant;

use super::client::{Client, Request};
use super::error::CallError;

/// With these every state is answered with 200, so that the body is read: without them a standby
/// answers 429 and a sealed server 503 (OpenBao `http/sys_health.go`).
const HEALTH_QUERY: &str = "standbycode=200&sealedcode=200&uninitcode=200&drsecondarycode=200&\
                            performancestandbycode=200";

/// What a server reports about itself.
#[derive(Debug, Clone)]
pub struct Server {
    /// Whether it can serve.
    pub health: Health,
    /// Its version; empty if it does not report one.
    pub version: String,
}

/// Whether the server can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Unsealed and active.
    Ready,
    /// Unsealed, and forwards to the active node if there is one.
    Standby,
    /// Sealed, or never initialised.
    Sealed,
    /// A disaster-recovery secondary, which serves no requests.
    Secondary,
}

#[derive(Deserialize)]
struct HealthData {
    initialized: bool,
    sealed: bool,
    #[serde(default)]
    standby: bool,
    #[serde(default)]
    replication_dr_mode: String,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
struct LeaderData {
    ha_enabled: bool,
    #[serde(default)]
    leader_address: String,
}

impl Client {
    /// The health of the server.
    ///
    /// # Errors
    /// As [`CallError`]; also if a proxy denies the path.
    pub async fn health(&self, deadline: Instant) -> Result<Health, CallError> {
        self.server(deadline).await.map(|server| server.health)
    }

    /// The health of the server, and its version.
    ///
    /// # Errors
    /// As [`Client::health`].
    pub async fn server(&self, deadline: Instant) -> Result<Server, CallError> {
        // Without a namespace, which the path refuses.
        let request = Request::get("sys/health", deadline).query(HEALTH_QUERY);
        let data: HealthData = self.send(request).await?.parse()?;
        Ok(Server {
            health: data.health(),
            version: data.version,
        })
    }

    /// Whether a standby knows the active node.
    ///
    /// # Errors
    /// As [`CallError`].
    pub async fn has_leader(&self, deadline: Instant) -> Result<bool, CallError> {
        let request = Request::get("sys/leader", deadline);
        let data: LeaderData = self.send(request).await?.parse()?;
        Ok(!data.ha_enabled || !data.leader_address.is_empty())
    }
}

impl HealthData {
    fn health(&self) -> Health {
        if self.sealed || !self.initialized {
            Health::Sealed
        } else if self.replication_dr_mode == "secondary" {
            Health::Secondary
        } else if self.standby {
            Health::Standby
        } else {
            Health::Ready
        }
    }
}
