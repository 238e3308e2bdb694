//! The ways to log in. One function per method; what they have in common is the [`Grant`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use thiserror::Error;
use tokio::time::Instant;

use super::credentials;
use crate::vault::{CallError, Client, Grant, Health, Lease, MountPath, Namespace, Refusal, Token};

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
    /// A token that somebody else got.
    Token(TokenSource),
    /// A service account's token, reviewed by kube-apiserver for Vault.
    Kubernetes {
        /// Where the auth method is mounted.
        mount: MountPath,
        /// The role.
        role: String,
        /// The file with the service account's token.
        jwt_file: PathBuf,
    },
}

/// Where a token comes from.
#[derive(Debug, Clone)]
pub enum TokenSource {
    /// A file, read at each login.
    File(PathBuf),
    /// The environment, for trying out.
    Environment(Arc<Token>),
}

/// Why there is no new session.
#[derive(Debug, Error)]
pub(super) enum LoginError {
    /// Vault cannot be logged into now; only its health is asked for until it can.
    #[error("{0}")]
    Away(String),
    /// Our own side: a credential file.
    #[error("{0}")]
    Credential(String),
    /// Vault answered the login with an error.
    #[error("login by {method} failed: {cause}{mend}")]
    Failed {
        method: &'static str,
        cause: CallError,
        mend: String,
    },
    /// Vault granted a token that a daemon cannot live on.
    #[error("the token is good for {0} requests only: make one without num_uses")]
    Counted(u64),
}

impl LoginError {
    pub(super) fn is_away(&self) -> bool {
        matches!(self, Self::Away(_))
    }

    /// Whether an operator has to act.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Away(_) => false,
            Self::Credential(_) | Self::Counted(_) => true,
            Self::Failed { cause, .. } => !cause.is_passing(),
        }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failed { cause, .. } => cause.retry_after(),
            _ => None,
        }
    }
}

/// Whether Vault can be logged into. A path that something denies proves nothing, so it counts as
/// ready: the login will tell.
pub(super) async fn reach(client: &Client, deadline: Instant) -> Result<(), LoginError> {
    match client.health(deadline).await {
        Ok(Health::Ready) => Ok(()),
        Ok(Health::Sealed) => Err(LoginError::Away("vault is sealed: unseal it".to_owned())),
        Ok(Health::Secondary) => Err(LoginError::Away(
            "vault is a disaster-recovery secondary: point vault.address at the primary".to_owned(),
        )),
        Err(error @ (CallError::Unreachable { .. } | CallError::TimedOut { .. })) => {
            Err(LoginError::Away(format!("vault: {error}")))
        }
        Err(_) => Ok(()),
    }
}

/// Logs in by the configured method.
pub(super) async fn login(
    client: &Client,
    settings: &Settings,
    deadline: Instant,
) -> Result<Grant, LoginError> {
    let grant = match &settings.method {
        Method::Token(source) => by_token(client, settings, source, deadline).await?,
        Method::Kubernetes {
            mount,
            role,
            jwt_file,
        } => by_kubernetes(client, settings, mount, role, jwt_file, deadline).await?,
    };
    match grant.lease.num_uses {
        0 => Ok(grant),
        uses => Err(LoginError::Counted(uses)),
    }
}

async fn by_token(
    client: &Client,
    settings: &Settings,
    source: &TokenSource,
    deadline: Instant,
) -> Result<Grant, LoginError> {
    let (token, origin) = match source {
        TokenSource::File(path) => (
            read("auth.token_file", path).await?,
            path.display().to_string(),
        ),
        TokenSource::Environment(token) => (
            Token::try_new(token.expose_secret())
                .map_err(|error| LoginError::Credential(format!("VAULT_TOKEN {error}")))?,
            "VAULT_TOKEN".to_owned(),
        ),
    };
    let lease = client
        .lookup_self(&settings.namespace, &token, deadline)
        .await;
    match lease {
        Ok(lease) => Ok(Grant { token, lease }),
        // Alive, but without the default policy: nobody can say for how long.
        Err(error) if error.refusal() == Some(Refusal::PolicyDenied) => Ok(Grant {
            token,
            lease: Lease {
                ttl: None,
                renewable: false,
                num_uses: 0,
            },
        }),
        Err(cause) => Err(LoginError::Failed {
            method: "token",
            mend: mend(&cause, &format!("put a valid token into {origin}")),
            cause,
        }),
    }
}

async fn by_kubernetes(
    client: &Client,
    settings: &Settings,
    mount: &MountPath,
    role: &str,
    jwt_file: &std::path::Path,
    deadline: Instant,
) -> Result<Grant, LoginError> {
    let jwt = read("auth.jwt_file", jwt_file).await?;
    let body = json!({ "role": role, "jwt": jwt.expose_secret() });
    let path = format!("auth/{}/login", mount.as_str());
    client
        .login(&settings.namespace, &path, &body, deadline)
        .await
        .map_err(|cause| LoginError::Failed {
            method: "kubernetes",
            mend: mend(
                &cause,
                &format!(
                    "check that auth.mount is {:?}, that role {role:?} binds this service account, \
                     that {} is fresh, and that vault reaches kube-apiserver",
                    mount.as_str(),
                    jwt_file.display()
                ),
            ),
            cause,
        })
}

async fn read(key: &str, path: &std::path::Path) -> Result<Token, LoginError> {
    credentials::read(key, path)
        .await
        .map_err(LoginError::Credential)
}

/// Advice only where an operator can follow it.
fn mend(cause: &CallError, advice: &str) -> String {
    if cause.is_passing() {
        return String::new();
    }
    format!("; {advice}")
}
