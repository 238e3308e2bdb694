//! The ways to log in, and whether Vault can serve logins at all.

mod error;
mod methods;
pub mod spiffe;
mod wrapped;

use tokio::time::Instant;

use super::credentials::Credential;
use crate::diagnosis::Diagnosis;
use crate::session::spiffe::Workload;
use crate::vault::{CallError, Client, Grant, Health, MountPath, Namespace};
pub(super) use error::LoginError;
use methods::Attempt;
pub use wrapped::Wrapped;
pub(super) use wrapped::{DEFER_FOR, PendingToken};

/// How to log in, and in which namespace.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespace of the auth mount.
    pub namespace: Namespace,
    /// The method.
    pub method: Method,
}

/// A method to log in by.
#[derive(Debug, Clone)]
pub enum Method {
    /// A token that an operator or an agent provides.
    Token(Credential),
    /// A service account's token, reviewed by kube-apiserver for Vault.
    Kubernetes(Jwt),
    /// A JWT that Vault checks itself.
    Jwt(Jwt),
    /// A role_id, and a secret_id if the role requires one.
    AppRole(AppRole),
    /// A user and a password.
    Userpass(Userpass),
    /// The client certificate of the connection itself.
    Cert(Cert),
}

/// What a login with a JWT needs.
#[derive(Debug, Clone)]
pub struct Jwt {
    /// Where the auth method is mounted.
    pub mount: MountPath,
    /// The role; `None` for the default role of the mount.
    pub role: Option<String>,
    /// Where the JWT comes from.
    pub source: JwtSource,
}

/// Where a JWT comes from.
#[derive(Debug, Clone)]
pub enum JwtSource {
    /// A file that is kept up to date by something else.
    File(Credential),
    /// The SPIFFE agent issues one for each login.
    Spiffe(Workload),
}

/// What a login with an AppRole needs.
#[derive(Debug, Clone)]
pub struct AppRole {
    /// Where the auth method is mounted.
    pub mount: MountPath,
    /// Identifies the role.
    pub role_id: Credential,
    /// Authenticates it.
    pub secret_id: SecretId,
}

/// Where the secret_id of an AppRole comes from.
#[derive(Debug, Clone)]
pub enum SecretId {
    /// The role has `bind_secret_id=false`.
    None,
    /// In plain text.
    Plain(Credential),
    /// Response-wrapped.
    Wrapped(Wrapped),
}

/// What a login with a password needs.
#[derive(Debug, Clone)]
pub struct Userpass {
    /// Where the auth method is mounted.
    pub mount: MountPath,
    /// The user.
    pub username: String,
    /// The password.
    pub password: Credential,
}

/// What a login with the client certificate needs besides the certificate.
#[derive(Debug, Clone)]
pub struct Cert {
    /// Where the auth method is mounted.
    pub mount: MountPath,
    /// The role; `None` for every role that matches.
    pub role: Option<String>,
    /// The file of the certificate that the connections present: named in errors, and watched.
    pub certificate: Credential,
}

impl Settings {
    /// The files and values that a login would read now. Without a certificate, which is read with
    /// the connection, and without a wrapping token, which may have been spent long ago.
    #[must_use]
    pub fn credentials(&self) -> Vec<Credential> {
        if matches!(self.method, Method::Cert(_)) || self.method.wrapped().is_some() {
            return Vec::new();
        }
        self.method.credentials()
    }
}

impl Method {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Kubernetes(_) => "kubernetes",
            Self::Jwt(_) => "jwt",
            Self::AppRole(_) => "approle",
            Self::Userpass(_) => "userpass",
            Self::Cert(_) => "cert",
        }
    }

    /// Whether Vault locks a role or user out, for every node that shares it, after a few
    /// rejections (5 in 15 minutes; OpenBao `configutil/userlockout.go`).
    pub(super) fn locks_out(&self) -> bool {
        match self {
            Self::AppRole(_) | Self::Userpass(_) => true,
            Self::Token(_) | Self::Kubernetes(_) | Self::Jwt(_) | Self::Cert(_) => false,
        }
    }

    /// Whether the token comes from a login of the plugin's own.
    pub(super) fn owns_token(&self) -> bool {
        !matches!(self, Self::Token(_))
    }

    /// The wrapped secret_id, if it is delivered wrapped.
    pub(super) fn wrapped(&self) -> Option<&Wrapped> {
        match self {
            Self::AppRole(AppRole {
                secret_id: SecretId::Wrapped(wrapped),
                ..
            }) => Some(wrapped),
            _ => None,
        }
    }

    /// All credentials that it uses.
    pub(super) fn credentials(&self) -> Vec<Credential> {
        match self {
            Self::Token(token) => vec![token.clone()],
            Self::Kubernetes(jwt) | Self::Jwt(jwt) => match &jwt.source {
                JwtSource::File(file) => vec![file.clone()],
                JwtSource::Spiffe(_) => Vec::new(),
            },
            Self::AppRole(approle) => {
                let secret_id = match &approle.secret_id {
                    SecretId::None => None,
                    SecretId::Plain(secret_id) => Some(secret_id),
                    SecretId::Wrapped(wrapped) => Some(wrapped.file()),
                };
                let all = secret_id.into_iter().chain([&approle.role_id]);
                all.cloned().collect()
            }
            Self::Userpass(userpass) => vec![userpass.password.clone()],
            Self::Cert(cert) => vec![cert.certificate.clone()],
        }
    }
}

/// Whether Vault can serve logins. Where something denies the health paths nothing is known, so
/// Vault counts as ready: the login will show.
pub(super) async fn check_health(client: &Client, deadline: Instant) -> Result<(), LoginError> {
    let unavailable = |cause: &str, remedy: &str| {
        LoginError::unavailable(Diagnosis::new(cause).with_remedy(remedy))
    };
    match client.health(deadline).await {
        Ok(Health::Sealed) => Err(unavailable("Vault is sealed", "unseal it")),
        Ok(Health::Secondary) => Err(unavailable(
            "Vault is a disaster-recovery secondary",
            "point vault.address at the primary",
        )),
        Ok(Health::Standby) => match client.has_leader(deadline).await {
            Ok(false) => Err(unavailable(
                "Vault has no leader: its nodes are electing one or have lost their quorum",
                "wait for the election, or restore the quorum",
            )),
            Ok(true) | Err(_) => Ok(()),
        },
        Err(error @ (CallError::Unreachable { .. } | CallError::TimedOut { .. })) => {
            Err(LoginError::unavailable(error.diagnosis().about("vault")))
        }
        Ok(Health::Ready) | Err(_) => Ok(()),
    }
}

/// Logs in by the configured method.
pub(super) async fn login(
    client: &Client,
    settings: &Settings,
    deadline: Instant,
) -> Result<Grant, LoginError> {
    let attempt = Attempt {
        client,
        namespace: &settings.namespace,
        deadline,
    };
    let grant = match &settings.method {
        Method::Token(token) => attempt.by_token(token).await?,
        Method::Kubernetes(jwt) => attempt.by_kubernetes(jwt).await?,
        Method::Jwt(jwt) => attempt.by_jwt(jwt).await?,
        Method::AppRole(approle) => match &approle.secret_id {
            SecretId::None => attempt.by_approle(approle, None).await?,
            SecretId::Plain(secret_id) => attempt.by_approle(approle, Some(secret_id)).await?,
            SecretId::Wrapped(wrapped) => attempt.by_wrapped(approle, wrapped).await?,
        },
        Method::Userpass(userpass) => attempt.by_userpass(userpass).await?,
        Method::Cert(cert) => attempt.by_cert(cert).await?,
    };
    if grant.lease.num_uses > 0 {
        if settings.method.owns_token() {
            // Nothing else would revoke it, and the next attempt brings another one.
            let _ = client
                .revoke_self(&settings.namespace, &grant.token, deadline)
                .await;
        }
        return Err(LoginError::use_limited(
            grant.lease.num_uses,
            &settings.method,
        ));
    }
    if grant.lease.ttl.is_some_and(|ttl| ttl.is_zero()) {
        return Err(LoginError::expiring());
    }
    Ok(grant)
}
