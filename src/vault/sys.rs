//! Whether a server can serve: `sys/health` and `sys/leader`.

use serde::Deserialize;
use tokio::time::Instant;

use super::client::{Client, Request};
use super::error::CallError;
use super::response::Response;

/// With these every state is answered with 200, so that the body is read: without them a standby
/// answers 429 and a sealed server 503 (OpenBao `http/sys_health.go`).
const HEALTH_QUERY: &str = "standbycode=200&sealedcode=200&uninitcode=200&\
    drsecondarycode=200&performancestandbycode=200&haunhealthycode=200&removedcode=200";

/// What a server reports about itself.
#[derive(Debug, Clone)]
pub struct Server {
    /// Whether it can serve.
    pub health: Health,
    /// Its version; empty if it does not report one.
    pub version: String,
    /// Its clock, in seconds since 1970; 0 if it does not report it.
    pub time: i64,
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
    /// A standby that cannot reach the active node.
    CutOff,
    /// Removed from its cluster.
    Removed,
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
    removed_from_cluster: Option<bool>,
    #[serde(default)]
    ha_connection_healthy: Option<bool>,
    #[serde(default)]
    version: String,
    #[serde(default)]
    server_time_utc: i64,
}

#[derive(Deserialize)]
struct LeaderData {
    ha_enabled: bool,
    #[serde(default)]
    leader_address: String,
}

impl Client {
    /// The health of the server, and its version.
    ///
    /// # Errors
    /// As [`CallError`]; also if a proxy denies the path.
    pub async fn server(&self, deadline: Instant) -> Result<Server, CallError> {
        let response = self.send(&health_request(deadline)).await?;
        read_server(&response)
    }
}

/// Asks a server for its health, without a namespace, which the path refuses.
pub(super) fn health_request<'a>(deadline: Instant) -> Request<'a> {
    Request::get("sys/health", deadline).query(HEALTH_QUERY)
}

/// Asks a standby for the active node.
pub(super) fn leader_request<'a>(deadline: Instant) -> Request<'a> {
    Request::get("sys/leader", deadline)
}

/// Reads the response to [`health_request`].
pub(super) fn read_server(response: &Response) -> Result<Server, CallError> {
    let data: HealthData = response.parse()?;
    Ok(Server {
        health: data.health(),
        version: data.version,
        time: data.server_time_utc,
    })
}

/// Reads the response to [`leader_request`]: whether the standby knows the active node.
pub(super) fn read_has_leader(response: &Response) -> Result<bool, CallError> {
    let data: LeaderData = response.parse()?;
    Ok(!data.ha_enabled || !data.leader_address.is_empty())
}

impl HealthData {
    fn health(&self) -> Health {
        // A node that was removed seals itself, and cannot be unsealed.
        if self.removed_from_cluster == Some(true) {
            Health::Removed
        } else if self.sealed || !self.initialized {
            Health::Sealed
        } else if self.replication_dr_mode == "secondary" {
            Health::Secondary
        } else if self.standby && self.ha_connection_healthy == Some(false) {
            Health::CutOff
        } else if self.standby {
            Health::Standby
        } else {
            Health::Ready
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_decides_the_health() {
        let table = [
            (r#"{"initialized":true,"sealed":false}"#, Health::Ready),
            (r#"{"initialized":true,"sealed":true}"#, Health::Sealed),
            (r#"{"initialized":false,"sealed":false}"#, Health::Sealed),
            (
                r#"{"initialized":true,"sealed":false,"standby":true,"performance_standby":true}"#,
                Health::Standby,
            ),
            (
                r#"{"initialized":true,"sealed":false,"standby":true,"ha_connection_healthy":true}"#,
                Health::Standby,
            ),
            // What Vault 1.19 and later answer with 474 and 530.
            (
                r#"{"initialized":true,"sealed":false,"standby":true,"ha_connection_healthy":false}"#,
                Health::CutOff,
            ),
            (
                r#"{"initialized":true,"sealed":true,"standby":true,"removed_from_cluster":true}"#,
                Health::Removed,
            ),
            (
                r#"{"initialized":true,"sealed":false,"replication_dr_mode":"secondary"}"#,
                Health::Secondary,
            ),
        ];
        for (body, health) in table {
            let server = read_server(&Response::for_test(200, body)).expect("a body of Vault");
            assert_eq!(server.health, health, "{body}");
        }
    }
}
