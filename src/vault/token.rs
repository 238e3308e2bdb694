//! Tokens: logins, what a token is worth, renewal; and whether the server can be logged into.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::Answer;
use super::client::{Client, Request};
use super::error::CallError;
use super::names::Namespace;
use super::secret::Token;

/// How long a token lives on, and whether that can be prolonged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// What is left; `None` for a token that does not expire.
    pub ttl: Option<Duration>,
    /// Whether renew-self can be asked.
    pub renewable: bool,
    /// How many requests the token is good for; 0 is no limit.
    pub num_uses: u64,
}

/// What a login brought.
#[derive(Debug)]
pub struct Grant {
    /// The token.
    pub token: Token,
    /// Its lease.
    pub lease: Lease,
}

/// What Vault says of a token.
#[derive(Debug, Clone)]
pub struct TokenInfo {
    /// Its lease.
    pub lease: Lease,
    /// Its policies, also those of its identity.
    pub policies: Vec<String>,
    /// `service` or `batch`; empty where the server does not say.
    pub kind: String,
}

/// What a server says of itself.
#[derive(Debug, Clone)]
pub struct Server {
    /// Whether it can serve.
    pub health: Health,
    /// Its version; empty where it does not say.
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
    /// A disaster-recovery secondary, which serves nobody.
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

#[derive(Deserialize)]
struct AuthEnvelope {
    auth: Option<AuthData>,
}

#[derive(Deserialize)]
struct AuthData {
    client_token: String,
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
    #[serde(default)]
    num_uses: u64,
}

#[derive(Deserialize)]
struct LookupEnvelope {
    data: LookupData,
}

#[derive(Deserialize)]
struct LookupData {
    ttl: u64,
    expire_time: Option<String>,
    #[serde(default)]
    renewable: bool,
    #[serde(default)]
    num_uses: u64,
    #[serde(default)]
    policies: Vec<String>,
    #[serde(default)]
    identity_policies: Vec<String>,
    #[serde(default, rename = "type")]
    kind: String,
}

impl Client {
    /// Asks whether the server can be logged into. The answer's body decides, not its code: a
    /// standby answers 429, a sealed server 503 (OpenBao `http/sys_health.go`).
    ///
    /// # Errors
    /// As [`CallError`]; also where something between denies the path.
    pub async fn health(&self, deadline: Instant) -> Result<Health, CallError> {
        self.server(deadline).await.map(|server| server.health)
    }

    /// The same with the server's version.
    ///
    /// # Errors
    /// As [`Client::health`].
    pub async fn server(&self, deadline: Instant) -> Result<Server, CallError> {
        // With these every state answers 200, so that its body is read. A namespace is refused here.
        let path = "sys/health";
        let query = "standbycode=200&sealedcode=200&uninitcode=200&drsecondarycode=200&performancestandbycode=200";
        let mut request = request(Method::GET, path, None, None, None, deadline);
        request.query = Some(query);
        let data: HealthData = self.send(request).await?.parse()?;
        let health = match &data {
            HealthData { sealed: true, .. }
            | HealthData {
                initialized: false, ..
            } => Health::Sealed,
            HealthData {
                replication_dr_mode: mode,
                ..
            } if mode == "secondary" => Health::Secondary,
            HealthData { standby: true, .. } => Health::Standby,
            HealthData { .. } => Health::Ready,
        };
        let version = data.version;
        Ok(Server { health, version })
    }

    /// Whether a standby knows the active node.
    ///
    /// # Errors
    /// As [`CallError`].
    pub async fn has_leader(&self, deadline: Instant) -> Result<bool, CallError> {
        let request = request(Method::GET, "sys/leader", None, None, None, deadline);
        let data: LeaderData = self.send(request).await?.parse()?;
        Ok(!data.ha_enabled || !data.leader_address.is_empty())
    }

    /// Logs in at `auth/<mount>/login` with a body of the method's own.
    ///
    /// # Errors
    /// As [`CallError`]; a login that wants a second factor is one too.
    pub async fn login(
        &self,
        namespace: &Namespace,
        path: &str,
        body: &Value,
        deadline: Instant,
    ) -> Result<Grant, CallError> {
        let body = Some(body.to_string().into_bytes());
        let answer = self
            .send(request(
                Method::POST,
                path,
                Some(namespace),
                None,
                body,
                deadline,
            ))
            .await?;
        let envelope: AuthEnvelope = answer.parse()?;
        // With MFA the login succeeds and brings an empty token (OpenBao `request_handling.go`).
        let auth = envelope.auth.filter(|auth| !auth.client_token.is_empty());
        let auth =
            auth.ok_or_else(|| answer.foreign("no token in it: does the role ask for MFA?"))?;
        let token = Token::try_new(&auth.client_token)
            .map_err(|error| answer.foreign(&format!("its token {error}")))?;
        let lease = auth.lease();
        Ok(Grant { token, lease })
    }

    /// What the token is worth. A GET, because the default policy grants only that.
    ///
    /// # Errors
    /// As [`CallError`].
    pub async fn lookup_self(
        &self,
        namespace: &Namespace,
        token: &Token,
        deadline: Instant,
    ) -> Result<Lease, CallError> {
        let info = self.describe_self(namespace, token, deadline).await?;
        Ok(info.lease)
    }

    /// The same, with all that is told of the token.
    ///
    /// # Errors
    /// As [`CallError`].
    pub async fn describe_self(
        &self,
        namespace: &Namespace,
        token: &Token,
        deadline: Instant,
    ) -> Result<TokenInfo, CallError> {
        let path = "auth/token/lookup-self";
        let answer = self
            .send(request(
                Method::GET,
                path,
                Some(namespace),
                Some(token),
                None,
                deadline,
            ))
            .await?;
        let data: LookupData = answer.parse::<LookupEnvelope>()?.data;
        let expires = data.ttl > 0 || data.expire_time.is_some();
        let lease = Lease {
            ttl: expires.then(|| Duration::from_secs(data.ttl)),
            renewable: data.renewable,
            num_uses: data.num_uses,
        };
        let policies = data.policies.into_iter().chain(data.identity_policies);
        Ok(TokenInfo {
            lease,
            policies: policies.collect(),
            kind: data.kind,
        })
    }

    /// Ends the token.
    ///
    /// # Errors
    /// As [`CallError`].
    pub async fn revoke_self(
        &self,
        namespace: &Namespace,
        token: &Token,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let path = "auth/token/revoke-self";
        self.post_self(path, namespace, token, deadline).await?;
        Ok(())
    }

    /// Prolongs the token, without an increment: one could shorten it. `None` when Vault answers
    /// 204, which means that it was not prolonged.
    ///
    /// # Errors
    /// As [`CallError`].
    pub async fn renew_self(
        &self,
        namespace: &Namespace,
        token: &Token,
        deadline: Instant,
    ) -> Result<Option<Lease>, CallError> {
        let path = "auth/token/renew-self";
        let answer = self.post_self(path, namespace, token, deadline).await?;
        if answer.is_empty() {
            return Ok(None);
        }
        Ok(answer
            .parse::<AuthEnvelope>()?
            .auth
            .map(|auth| auth.lease()))
    }

    /// What a token asks for itself, with an empty body.
    async fn post_self(
        &self,
        path: &str,
        namespace: &Namespace,
        token: &Token,
        deadline: Instant,
    ) -> Result<Answer, CallError> {
        let body = Some(json!({}).to_string().into_bytes());
        self.send(request(
            Method::POST,
            path,
            Some(namespace),
            Some(token),
            body,
            deadline,
        ))
        .await
    }
}

impl AuthData {
    fn lease(&self) -> Lease {
        Lease {
            ttl: (self.lease_duration > 0).then(|| Duration::from_secs(self.lease_duration)),
            renewable: self.renewable,
            num_uses: self.num_uses,
        }
    }
}

pub(super) fn request<'a>(
    method: Method,
    path: &'a str,
    namespace: Option<&'a Namespace>,
    token: Option<&'a Token>,
    body: Option<Vec<u8>>,
    deadline: Instant,
) -> Request<'a> {
    Request {
        method,
        path,
        query: None,
        namespace,
        token,
        body,
        deadline,
    }
}
