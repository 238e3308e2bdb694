//! The SPIFFE Workload API over its unix socket: a fresh JWT-SVID for each login.
//!
//! Knows nothing of Vault. The socket needs no credential: the agent identifies the calling process.

mod error;
mod id;
pub mod proto;

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};
use tonic::Request;
use tonic::metadata::MetadataValue;
use zeroize::Zeroizing;

pub use error::FetchError;
pub use id::{InvalidId, SpiffeId, TrustDomain};
use proto::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use proto::{Jwtsvid, JwtsvidRequest};

use crate::system::grpc_connection::{self, Connection};

/// Agents answer from memory within milliseconds; the rest of a login's time is for Vault.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Far above every list of JWTs; a larger response is refused.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
/// The header that every call to the Workload API needs, against request forgery.
const HEADER: &str = "workload.spiffe.io";

/// Where JWT-SVIDs come from, and which one is wanted.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The socket of the agent.
    pub socket: PathBuf,
    /// The audience of the JWT.
    pub audience: String,
    /// The identity, if the process has several; `None` for the agent's default.
    pub id: Option<SpiffeId>,
    /// The trust domain that the identity must have.
    pub trust_domain: Option<TrustDomain>,
}

impl Workload {
    /// Fetches a JWT-SVID that is issued for this call.
    ///
    /// # Errors
    /// As [`FetchError`].
    pub async fn fetch(&self, deadline: Instant) -> Result<Zeroizing<String>, FetchError> {
        let deadline = deadline.min(Instant::now() + FETCH_TIMEOUT);
        let offered = timeout_at(deadline, self.request(deadline)).await;
        let offered = offered.map_err(|_| FetchError::TimedOut(self.socket.clone()))??;
        self.choose(offered)
    }

    async fn request(&self, deadline: Instant) -> Result<Vec<Jwtsvid>, FetchError> {
        let unreachable = |cause: String| FetchError::Unreachable {
            socket: self.socket.clone(),
            cause,
        };
        let stream = UnixStream::connect(&self.socket).await;
        let stream = stream.map_err(|error| unreachable(error.to_string()))?;
        let connection = Connection::over(stream).await;
        let connection = connection.map_err(|error| unreachable(error.to_string()))?;
        let mut request = Request::new(JwtsvidRequest {
            audience: vec![self.audience.clone()],
            spiffe_id: self
                .id
                .as_ref()
                .map_or_else(String::new, SpiffeId::to_string),
        });
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        let headers = request.metadata_mut();
        headers.insert(HEADER, MetadataValue::from_static("true"));
        let origin = Uri::from_static(grpc_connection::ORIGIN);
        let mut client = SpiffeWorkloadApiClient::with_origin(connection, origin)
            .max_decoding_message_size(MAX_RESPONSE_BYTES);
        let response = client.fetch_jwtsvid(request).await;
        let response = response.map_err(|status| FetchError::refused(&self.socket, &status))?;
        Ok(response.into_inner().svids)
    }

    /// The first one that matches; the agent may offer several, the default one first.
    fn choose(&self, offered: Vec<Jwtsvid>) -> Result<Zeroizing<String>, FetchError> {
        let mut others = Vec::new();
        for Jwtsvid { spiffe_id, svid } in offered {
            let svid = Zeroizing::new(svid);
            if !svid.is_empty() && self.matches(&spiffe_id) {
                return Ok(svid);
            }
            others.push(spiffe_id);
        }
        Err(FetchError::NotOffered {
            wanted: self.wanted(),
            offered: others,
        })
    }

    fn matches(&self, id: &str) -> bool {
        let Ok(id) = SpiffeId::try_new(id) else {
            return false;
        };
        self.id.as_ref().is_none_or(|wanted| *wanted == id)
            && self
                .trust_domain
                .as_ref()
                .is_none_or(|domain| domain.as_str() == id.trust_domain())
    }

    fn wanted(&self) -> String {
        match (&self.id, &self.trust_domain) {
            (Some(id), None) => format!("auth.spiffe_id {id}"),
            (None, Some(domain)) => format!("one of auth.spiffe_trust_domain {}", domain.as_str()),
            (Some(id), Some(domain)) => format!(
                "auth.spiffe_id {id} of auth.spiffe_trust_domain {}",
                domain.as_str()
            ),
            (None, None) => "any".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(id: Option<&str>, domain: Option<&str>) -> Workload {
        Workload {
            socket: "/run/agent.sock".into(),
            audience: "vault".to_owned(),
            id: id.map(|id| SpiffeId::try_new(id).expect("an id")),
            trust_domain: domain.map(|name| TrustDomain::try_new(name).expect("a name")),
        }
    }

    fn svid(id: &str, svid: &str) -> Jwtsvid {
        Jwtsvid {
            spiffe_id: id.to_owned(),
            svid: svid.to_owned(),
        }
    }

    fn chosen(workload: &Workload) -> Result<String, FetchError> {
        let offered = vec![
            svid("spiffe://a.example/one", "1"),
            svid("spiffe://a.example/two", "2"),
            svid("spiffe://b.example/two", "3"),
        ];
        workload
            .choose(offered)
            .map(|svid| svid.as_str().to_owned())
    }

    #[test]
    fn the_agents_default_is_used_unless_another_identity_is_wanted() {
        let table = [
            (None, None, "1"),
            (Some("spiffe://a.example/two"), None, "2"),
            (None, Some("b.example"), "3"),
            (Some("spiffe://b.example/two"), Some("b.example"), "3"),
        ];
        for (id, domain, expected) in table {
            assert_eq!(
                chosen(&workload(id, domain)).ok().as_deref(),
                Some(expected)
            );
        }
    }

    #[test]
    fn the_error_names_the_wanted_and_the_offered_identities() {
        let error = chosen(&workload(None, Some("c.example"))).expect_err("not offered");
        let text = error.to_string();
        assert!(
            text.contains("c.example") && text.contains("spiffe://b.example/two"),
            "{text}"
        );
        let both = workload(Some("spiffe://a.example/one"), Some("b.example"));
        assert!(chosen(&both).is_err());
    }
}
