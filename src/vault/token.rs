//! Tokens: login, lookup, renewal and revocation.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{Client, Request};
use super::error::CallError;
use super::names::Namespace;
use super::redaction::Secrets;
use super::response::{Envelope, Response};
use super::secret::Token;

/// A century: what is longer is an error of the server, or of something in its place.
const MAX_LIFETIME: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How long a token is valid, and whether that can be extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The time that is left; `None` for a token that does not expire.
    pub ttl: Option<Duration>,
    /// Whether the token can be renewed.
    pub renewable: bool,
    /// How many requests the token is valid for; 0 is no limit.
    pub num_uses: u64,
}

/// The result of a login.
#[derive(Debug)]
pub struct Grant {
    /// The token.
    pub token: Token,
    /// Its lease.
    pub lease: Lease,
    /// What Vault remarked about the login, such as that it shortened the lease.
    pub warnings: Vec<String>,
}

/// What Vault reports about a token.
#[derive(Debug, Clone)]
pub struct TokenInfo {
    /// Its lease.
    pub lease: Lease,
    /// Its policies, with those of its identity.
    pub policies: Vec<String>,
    /// `service` or `batch`; empty if the server does not report it.
    pub kind: String,
    /// The namespace that it was issued in: its policies are those of this namespace.
    pub namespace: Namespace,
    /// Whether it can be renewed without an end.
    pub is_periodic: bool,
    /// Whether it ends with the token that created it.
    pub has_parent: bool,
    /// How long ago it was issued, by the server's clock; `None` if that is not known, such as of a
    /// token that was renewed.
    pub age: Option<Duration>,
}

#[derive(Deserialize)]
struct AuthEnvelope {
    auth: Option<AuthData>,
    wrap_info: Option<IgnoredAny>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct AuthData {
    client_token: String,
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
    #[serde(default)]
    num_uses: u64,
    mfa_requirement: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct LookupData {
    ttl: u64,
    #[serde(default)]
    creation_ttl: u64,
    last_renewal: Option<IgnoredAny>,
    expire_time: Option<String>,
    #[serde(default)]
    renewable: bool,
    #[serde(default)]
    period: u64,
    #[serde(default)]
    explicit_max_ttl: u64,
    /// Absent is like true: nothing is known of a parent.
    orphan: Option<bool>,
    #[serde(default)]
    num_uses: u64,
    /// A list that is empty in Go is `null`.
    policies: Option<Vec<String>>,
    identity_policies: Option<Vec<String>>,
    #[serde(default, rename = "type")]
    kind: String,
    /// Absent in the root namespace, and of a server without namespaces.
    #[serde(default)]
    namespace_path: String,
}

impl Client {
    /// Logs in at `auth/<mount>/login` with the body of the method.
    ///
    /// # Errors
    /// As [`CallError`]; also if the login requires a second factor or an approval.
    pub async fn login(
        &self,
        namespace: &Namespace,
        path: &str,
        body: &Value,
        deadline: Instant,
    ) -> Result<Grant, CallError> {
        let request = Request::post(path, deadline)
            .namespace(namespace)
            .json(body);
        let response = self.send(&request).await?;
        Grant::read(&response, &request.secrets())
    }

    /// The lease of the token. A GET, because the default policy grants only that.
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

    /// All that Vault reports about the token.
    ///
    /// # Errors
    /// As [`CallError`].
    pub async fn describe_self(
        &self,
        namespace: &Namespace,
        token: &Token,
        deadline: Instant,
    ) -> Result<TokenInfo, CallError> {
        let request = Request::get("auth/token/lookup-self", deadline)
            .namespace(namespace)
            .token(token);
        TokenInfo::read(&self.send(&request).await?)
    }

    /// Revokes the token.
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

    /// Renews the token, without an increment, which could shorten it. Returns `None` if Vault
    /// answers 204, which means that it renewed nothing.
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
        let response = self.post_self(path, namespace, token, deadline).await?;
        Lease::read_renewed(&response)
    }

    /// A POST of a token for itself, with an empty body.
    async fn post_self(
        &self,
        path: &str,
        namespace: &Namespace,
        token: &Token,
        deadline: Instant,
    ) -> Result<Response, CallError> {
        let request = Request::post(path, deadline)
            .namespace(namespace)
            .token(token)
            .json(&json!({}));
        self.send(&request).await
    }
}

impl Lease {
    /// Reads the response to a renewal; `None` if nothing was renewed.
    pub(super) fn read_renewed(response: &Response) -> Result<Option<Self>, CallError> {
        if response.is_empty() {
            return Ok(None);
        }
        let envelope: AuthEnvelope = response.parse()?;
        Ok(envelope.auth.map(|auth| auth.lease()))
    }
}

impl Grant {
    /// Reads the response to a login.
    pub(super) fn read(response: &Response, secrets: &Secrets<'_>) -> Result<Self, CallError> {
        let envelope: AuthEnvelope = response.parse()?;
        // With MFA the login succeeds with an empty token (OpenBao `request_handling.go`).
        let auth = envelope.auth;
        if auth.as_ref().is_some_and(|it| it.mfa_requirement.is_some()) {
            return Err(response.login_incomplete("a second factor (MFA)"));
        }
        // A control group withholds the response until it is approved, and wraps it meanwhile.
        if auth.is_none() && envelope.wrap_info.is_some() {
            return Err(response.login_incomplete("an approval (control group)"));
        }
        let auth = auth.filter(|auth| !auth.client_token.is_empty());
        let auth = auth.ok_or_else(|| response.unexpected("it holds no token"))?;
        let token = Token::try_new(&auth.client_token)
            .map_err(|error| response.unexpected(format!("its token {error}")))?;
        let lease = auth.lease();
        let warnings = envelope.warnings.unwrap_or_default().into_iter();
        let warnings = warnings
            .map(|it| secrets.redact(&it).into_owned())
            .collect();
        Ok(Self {
            token,
            lease,
            warnings,
        })
    }
}

impl TokenInfo {
    /// Reads the response to a lookup.
    pub(super) fn read(response: &Response) -> Result<Self, CallError> {
        let data = response.parse::<Envelope<LookupData>>()?.data;
        let expires = data.ttl > 0 || data.expire_time.is_some();
        let age = data.creation_ttl.checked_sub(data.ttl);
        let age = age.filter(|_| expires && data.last_renewal.is_none());
        let lease = Lease {
            ttl: expires.then(|| lifetime(data.ttl)),
            renewable: data.renewable,
            num_uses: data.num_uses,
        };
        let policies = data.policies.into_iter().chain(data.identity_policies);
        Ok(Self {
            lease,
            policies: policies.flatten().collect(),
            kind: data.kind,
            is_periodic: !expires || (data.period > 0 && data.explicit_max_ttl == 0),
            has_parent: data.orphan == Some(false),
            namespace: Namespace::try_new(&data.namespace_path).unwrap_or_default(),
            age: age.map(lifetime),
        })
    }
}

/// A time in seconds, of which a longer one than any Vault grants is cut: it is added to the clock.
fn lifetime(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(MAX_LIFETIME)
}

impl AuthData {
    fn lease(&self) -> Lease {
        Lease {
            ttl: (self.lease_duration > 0).then(|| lifetime(self.lease_duration)),
            renewable: self.renewable,
            num_uses: self.num_uses,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_with_empty_lists_and_an_absurd_lease_is_read() {
        let data: LookupData = serde_json::from_str(
            r#"{"ttl":18446744073709551615,"expire_time":null,"policies":null,"last_renewal":null}"#,
        )
        .expect("a lookup of Vault");
        assert_eq!((data.policies, data.identity_policies), (None, None));
        assert_eq!(lifetime(data.ttl), MAX_LIFETIME);
        let auth = AuthData {
            client_token: String::new(),
            lease_duration: u64::MAX,
            renewable: true,
            num_uses: 0,
            mfa_requirement: None,
        };
        assert_eq!(auth.lease().ttl, Some(MAX_LIFETIME));
        // The clock can be advanced by it.
        let _ = Instant::now() + MAX_LIFETIME;
    }
}
